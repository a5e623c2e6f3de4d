"""Uploads that tell how far they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, Any

Part = tuple[str, IO[Any], str]  # name, open file, media type
Progress = Callable[[int, int], None]


class CountedFile:
    """An open file that reports what is read from it. Has what httpx asks of a file, and no more."""

    def __init__(self, file: IO[Any], tell: Callable[[int], None]) -> None:
        self._file = file
        self._tell = tell

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._tell(len(data))
        return data

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def size_of(parts: list[Part]) -> int:
    return sum(os.fstat(file.fileno()).st_size for _, file, _ in parts)


def counted(parts: list[Part], on_progress: Progress | None) -> list[tuple[str, Any, str]]:
    """The same parts; reading them tells (bytes so far, bytes in all)."""
    if on_progress is None:
        return list(parts)
    total = size_of(parts)
    sent = 0

    def tell(size: int) -> None:
        nonlocal sent
        sent += size
        if size:
            on_progress(sent, total)

    return [(name, CountedFile(file, tell), kind) for name, file, kind in parts]
