"""Bytes of artifacts, models, checkpoints and datasets, under keys like "artifacts/<job>/<fence>/0.png".

`Storage` is what every kind of storage promises (DESIGN.md); `LocalStorage` keeps them in one folder: write, fsync,
rename, fsync the folder. Readers follow rows, so a file without a row is only garbage.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from shared.errors import NotFound, StorageFull

KEY = re.compile(r"[a-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")
PARTIAL = re.compile(r"(.+/)\.([^/]+)\.partial")  # see _partial_of
CHUNK = 1 << 20
SYNCED_AT_ONCE = 8
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
# How long work waits after the disk was full or the storage did not answer, by the code of the error.
WAITS = {"storage_full": 60.0, "storage_away": 10.0}


class Stored(NamedTuple):
    """One file, as keys() finds it."""

    key: str
    bytes: int
    changed: float  # seconds since 1970, by the clock of whoever keeps it


class Storage(Protocol):
    """Whole files or none, durable when `put` returns, each with the hash of the bytes that lie there."""

    def put_file(self, key: str, source: Path) -> tuple[str, int]: ...
    def put_bytes(self, key: str, data: bytes) -> tuple[str, int]: ...
    def put_stream(
        self, key: str, chunks: Iterable[bytes], *, durable: bool = True
    ) -> tuple[str, int]:
        """Returns (sha256, bytes). Raises StorageFull; whatever it raises, no half file lies under the key.

        Without `durable` it may be lost with the machine's power until settle() was called.
        """

    def settle(self, keys: Iterable[str]) -> None:
        """Makes what was put without `durable` so. Raises StorageFull."""

    def open(self, key: str) -> BinaryIO:
        """A file that can be read from any place. Raises NotFound."""

    def size(self, key: str) -> int:
        """Raises NotFound."""

    def local_path(self, key: str) -> Path | None:
        """The file itself, where it lies on this machine. None elsewhere; raises NotFound."""

    def delete(self, key: str) -> int:
        """Deletes a key or all keys under a prefix; returns the bytes that this freed."""

    def keys(self, prefix: str) -> Iterator[Stored]:
        """Every file under a prefix, in order; half-written ones too."""

    def check(self) -> None:
        """Raises AppError in words when nothing can be stored here."""


class LocalStorage:
    """Storage in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def path_of(self, key: str) -> Path:
        check_key(key)
        return self.root / key

    def put_file(self, key: str, source: Path) -> tuple[str, int]:
        with source.open("rb") as file:
            return self.put_stream(key, chunks_of(file))

    def put_bytes(self, key: str, data: bytes) -> tuple[str, int]:
        return self.put_stream(key, [data])

    def put_stream(
        self, key: str, chunks: Iterable[bytes], *, durable: bool = True
    ) -> tuple[str, int]:
        path = self.path_of(key)
        partial = _partial_of(path)
        digest, size = hashlib.sha256(), 0
        try:
            with told_when_full():
                made = _make_folders(path.parent)
                with partial.open("wb") as file:
                    for chunk in chunks:
                        digest.update(chunk)
                        size += file.write(chunk)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                partial.replace(path)
                if durable:
                    sync_folder(path.parent)
                    # a folder's own name is on disk only when its parent is
                    for folder in made:
                        sync_folder(folder.parent)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        return digest.hexdigest(), size

    def settle(self, keys: Iterable[str]) -> None:
        """Each file, then each folder once."""
        paths = [self.path_of(key) for key in keys]
        folders = sorted({folder for path in paths for folder in self._above(path)})
        # side by side: the file system then waits for the disk once for several
        with told_when_full(), ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
            list(pool.map(sync, paths, repeat(os.O_RDONLY)))
            list(pool.map(sync_folder, folders))

    def _above(self, path: Path) -> Iterator[Path]:
        """The folders that hold the name of this file, and their names."""
        folder = path.parent
        while folder != self.root.parent:
            yield folder
            folder = folder.parent

    def open(self, key: str) -> BinaryIO:
        try:
            return self.path_of(key).open("rb")
        except FileNotFoundError:
            raise NotFound() from None

    def size(self, key: str) -> int:
        path = self.path_of(key)
        if not path.is_file():
            raise NotFound()
        return path.stat().st_size

    def local_path(self, key: str) -> Path:
        path = self.path_of(key)
        if not path.is_file():
            raise NotFound()
        return path

    def delete(self, key: str) -> int:
        if not is_key(key):
            raise NotFound()
        path = self.root / key
        if path.is_dir():
            freed = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            shutil.rmtree(path, ignore_errors=True)
            return freed
        try:
            freed = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return freed

    def keys(self, prefix: str) -> Iterator[Stored]:
        for path in _files_below(str(self.root / prefix)):
            with suppress(FileNotFoundError):  # somebody has just removed it
                facts = os.stat(path)
                yield Stored(os.path.relpath(path, self.root), facts.st_size, facts.st_mtime)

    def check(self) -> None:
        """The folder was made; what it lacks is told by the first put."""


def _files_below(folder: str) -> Iterator[str]:
    """In order, a folder at a time: of a million files no more than the names of one folder are held."""
    try:
        with os.scandir(folder) as found:
            names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, is_folder in names:
        path = os.path.join(folder, name)
        if is_folder:
            yield from _files_below(path)
        elif os.path.isfile(path):
            yield path


def is_key(key: str) -> bool:
    """Whether a file of ours may be named so, half-written ones included: what may be deleted."""
    return bool(KEY.fullmatch(whole_key(key))) and ".." not in key


def check_key(key: str) -> None:
    """Raises NotFound for what could leave the storage."""
    if not KEY.fullmatch(key) or ".." in key:
        raise NotFound()


def _partial_of(path: Path) -> Path:
    """Where a file lies until it is whole."""
    return path.with_name(f".{path.name}.partial")


def whole_key(key: str) -> str:
    """The key that a half-written file was to have; any other is its own."""
    found = PARTIAL.fullmatch(key)
    return found[1] + found[2] if found else key


def is_full(error: BaseException) -> bool:
    """Whether a disk, or what its user may hold of it, is used up."""
    return isinstance(error, OSError) and error.errno in NO_SPACE


@contextmanager
def told_when_full() -> Iterator[None]:
    """Turns a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull() from error
        raise


def _make_folders(folder: Path) -> list[Path]:
    """Makes a folder; those that were not there, from the outermost."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
    return missing[::-1]


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(CHUNK), b"")


def sync_folder(folder: Path) -> None:
    sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
