"""Bytes of artifacts, models, checkpoints and datasets, under keys like "artifacts/<job>/<fence>/0.png".

Local folder: write, fsync, rename, fsync the folder. A key is never rewritten; readers follow rows, so a file without a
row is only garbage. S3 joins behind the same five verbs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

from shared.errors import NotFound, StorageFull

KEY = re.compile(r"[a-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")
CHUNK = 1 << 20
SYNCED_AT_ONCE = 8
NO_SPACE = {28, 122}  # ENOSPC, EDQUOT


class LocalStorage:
    """Storage in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def path_of(self, key: str) -> Path:
        if not KEY.fullmatch(key) or ".." in key:
            raise NotFound()
        return self.root / key

    def put_file(self, key: str, source: Path) -> tuple[str, int]:
        """Copies (or links) a finished file in; returns (sha256, bytes) of what lies there now."""
        with source.open("rb") as file:
            return self.put_stream(key, iter(lambda: file.read(CHUNK), b""))

    def put_bytes(self, key: str, data: bytes) -> tuple[str, int]:
        return self.put_stream(key, [data])

    def put_stream(
        self, key: str, chunks: Iterable[bytes], *, durable: bool = True
    ) -> tuple[str, int]:
        """Raises StorageFull when the disk is; then nothing lies under the key.

        Without `durable` it may be lost with the machine's power until settle() was called.
        """
        path = self.path_of(key)
        partial = path.with_name(f".{path.name}.partial")
        digest, size = hashlib.sha256(), 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
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
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno in NO_SPACE:
                raise StorageFull() from error
            raise
        return digest.hexdigest(), size

    def settle(self, keys: Iterable[str]) -> None:
        """Makes what was put without `durable` so: each file, then each folder once. Raises StorageFull."""
        paths = [self.path_of(key) for key in keys]
        folders = sorted({path.parent for path in paths})
        try:
            # side by side: the file system then waits for the disk once for several
            with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
                list(pool.map(sync, paths, repeat(os.O_RDONLY)))
                list(pool.map(sync_folder, folders))
        except OSError as error:
            if error.errno in NO_SPACE:
                raise StorageFull() from error
            raise

    def open(self, key: str) -> BinaryIO:
        try:
            return self.path_of(key).open("rb")
        except FileNotFoundError:
            raise NotFound() from None

    def delete(self, key: str) -> int:
        """Deletes a key or all keys under a prefix; returns the bytes that this freed."""
        path = self.path_of(key)
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

    def keys(self, prefix: str) -> Iterator[tuple[str, float]]:
        """(key, time of last change) of every file under a prefix; half-written ones too."""
        base = self.root / prefix
        for path in sorted(base.rglob("*")) if base.is_dir() else ():
            with suppress(FileNotFoundError):  # somebody has just removed it
                if path.is_file():
                    yield str(path.relative_to(self.root)), path.stat().st_mtime

    def free_percent(self) -> float:
        usage = shutil.disk_usage(self.root)
        return 100 * usage.free / usage.total


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
