"""Where a backup lies: blobs named by their SHA-256 and a manifest, in a folder or in one tar file.

A folder is filled again later: what is there already is not copied again, and its manifest is changed last. A tar is
written beside its name and renamed. Either holds the old backup or the new one, whenever the power goes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from shared.errors import AppError, Conflict
from shared.packs import Section
from shared.storage import sync, sync_folder

MANIFEST = "manifest.json"
FORMAT = 1
LOCK = "lock"
OURS = {LOCK, "partial"}  # all there is where the first backup broke off
OTHERS = 0o077
LONGEST_MANIFEST = 64 << 20


class BadBackup(AppError):
    """This is no whole backup of Atelier."""

    status = 422
    code = "bad_backup"


def name_of(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


# ---- written -------------------------------------------------------------------------------------------


class Target(Protocol):
    """Takes blobs, then the manifest."""

    folder: Path  # on the same disk, for files that are being written

    def has(self, sha256: str) -> bool: ...
    def add(self, sha256: str, path: Path) -> None:
        """Takes a finished file away from `path`."""

    def finish(self, manifest: dict[str, Any]) -> None: ...


class FolderTarget:
    """Nobody else writes into the folder meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self.folder = folder / "partial"
        self.folder.mkdir(exist_ok=True)
        for ours in (folder, self.folder, folder / "objects"):
            _shut(ours)
        self._used: set[str] = set()
        self._made: set[Path] = set()

    def has(self, sha256: str) -> bool:
        self._used.add(sha256)
        return (self._root / name_of(sha256)).exists()

    def add(self, sha256: str, path: Path) -> None:
        place = self._root / name_of(sha256)
        self._made |= {folder for folder in (place.parent, place.parent.parent)}
        place.parent.mkdir(parents=True, exist_ok=True)
        sync(path, os.O_RDONLY)
        path.replace(place)

    def finish(self, manifest: dict[str, Any]) -> None:
        for folder in [*self._made, self._root]:
            sync_folder(folder)
        partial = self.folder / MANIFEST
        partial.write_bytes(sealed(manifest))
        sync(partial, os.O_RDONLY)
        partial.replace(self._root / MANIFEST)
        sync_folder(self._root)
        for path in (self._root / "objects").glob("*/*"):
            if path.name not in self._used:
                path.unlink()
        for path in self.folder.iterdir():  # what a backup that broke off has left
            path.unlink()
        self.folder.rmdir()


def _shut(folder: Path) -> None:
    """For its owner alone, also one that was there."""
    if not folder.is_dir() or not folder.stat().st_mode & OTHERS:
        return
    try:
        folder.chmod(0o700)
    except PermissionError:
        raise BadBackup(f"{folder} is not yours, and others may read it.") from None


class TarTarget:
    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self.folder = folder
        self._partial = folder / "backup.tar"
        self._file = self._partial.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT)
        self._held: set[str] = set()

    def has(self, sha256: str) -> bool:
        return sha256 in self._held

    def add(self, sha256: str, path: Path) -> None:
        with path.open("rb") as file:
            self._add(name_of(sha256), file, path.stat().st_size)
        path.unlink()
        self._held.add(sha256)

    def _add(self, name: str, file: BinaryIO, size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        self._tar.addfile(entry, file)

    def finish(self, manifest: dict[str, Any]) -> None:
        data = sealed(manifest)
        self._add(MANIFEST, io.BytesIO(data), len(data))
        self._tar.close()
        self._file.close()
        sync(self._partial, os.O_RDONLY)
        self._partial.replace(self._path)
        sync_folder(self._path.parent)

    def close(self) -> None:
        """Also when it broke off."""
        self._file.close()


@contextmanager
def target_of(path: Path) -> Iterator[Target]:
    """A folder, unless the name ends in .tar. For its owner alone: it holds everybody's rows and results."""
    before = os.umask(OTHERS)
    try:
        with _tar(path) if path.suffix == ".tar" else _folder(path) as target:
            yield target
    finally:
        os.umask(before)


@contextmanager
def _folder(folder: Path) -> Iterator[Target]:
    """One backup at a time: a second would take the files of the first for what an earlier one has left."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if {path.name for path in folder.iterdir()} - OURS and not (folder / "objects").is_dir():
        raise BadBackup(f"{folder} is no backup of Atelier and not empty.")
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another backup is being made in {folder}.") from None
        yield FolderTarget(folder)


@contextmanager
def _tar(path: Path) -> Iterator[Target]:
    if path.is_dir():
        raise BadBackup(f"{path} is a folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        with closing(TarTarget(path, Path(folder))) as target:
            yield target


def sealed(manifest: dict[str, Any]) -> bytes:
    """With its own hash, so that a flipped bit in it is seen, too."""
    return json.dumps(manifest | {"sha256": _seal(manifest)}, indent=1).encode()


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


# ---- read ----------------------------------------------------------------------------------------------


class Source:
    """A backup that is there: its manifest, and its blobs by their hash."""

    manifest: dict[str, Any]

    def open(self, sha256: str) -> BinaryIO:
        """Raises BadBackup when it is not there."""
        raise NotImplementedError

    def _read_manifest(self, data: bytes) -> None:
        try:
            manifest = json.loads(data)
            seal = manifest.pop("sha256")
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise BadBackup("Its manifest cannot be read.") from None
        if manifest.get("format") != FORMAT:
            raise BadBackup("It was made by another version of Atelier, in another form.")
        if seal != _seal(manifest):
            raise BadBackup("Its manifest is damaged.")
        self.manifest = manifest


class FolderSource(Source):
    def __init__(self, folder: Path) -> None:
        self._root = folder
        try:
            self._read_manifest((folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise BadBackup(
                "There is no manifest: this is no backup, or one that broke off."
            ) from None

    def open(self, sha256: str) -> BinaryIO:
        try:
            return (self._root / name_of(sha256)).open("rb")
        except FileNotFoundError:
            raise BadBackup(f"A part is missing: {sha256}") from None


class TarSource(Source):
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with tarfile.open(path, "r:") as tar:
                files = [entry for entry in tar if entry.isreg()]
        except (tarfile.TarError, EOFError) as error:
            raise BadBackup(f"The file cannot be read: {error}") from None
        self._places = {entry.name: (entry.offset_data, entry.size) for entry in files}
        if self._places.get(MANIFEST, (0, LONGEST_MANIFEST))[1] >= LONGEST_MANIFEST:
            raise BadBackup("There is no manifest: the file is cut short, or no backup.")
        with self._open(MANIFEST) as file:
            self._read_manifest(file.read())

    def open(self, sha256: str) -> BinaryIO:
        if name_of(sha256) not in self._places:
            raise BadBackup(f"A part is missing: {sha256}")
        return self._open(name_of(sha256))

    def _open(self, name: str) -> BinaryIO:
        return io.BufferedReader(Section(self._path.open("rb"), *self._places[name]))


def source_of(path: Path) -> Source:
    """Raises BadBackup."""
    if not path.exists():
        raise BadBackup(f"There is nothing at {path}.")
    return FolderSource(path) if path.is_dir() else TarSource(path)
