"""Small JPEGs of a packed picture dataset: thumbnails.bin holds them back to back, thumbnails.idx where each begins.

Made by the checking process, which has each picture decoded anyway; nobody who serves them ever decodes anything.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from shared.errors import BadData

SIZES = (64, 128, 256)  # pixels of the longer side
DATA = "thumbnails.bin"
INDEX = "thumbnails.idx"
ENTRY = struct.Struct("<QIII")  # offset of the first, and the bytes of each size
LONGEST = 1 << 20
JPEG = b"\xff\xd8\xff"


class ThumbnailWriter:
    """One entry for each picture; no bytes where the picture itself is small enough."""

    def __init__(self, folder: Path) -> None:
        self._data = (folder / DATA).open("wb")
        self._index = (folder / INDEX).open("wb")
        self.bytes = 0

    def add(self, thumbnails: Sequence[bytes]) -> None:
        self._index.write(ENTRY.pack(self.bytes, *map(len, thumbnails)))
        for data in thumbnails:
            self.bytes += self._data.write(data)

    def close(self) -> None:
        self._data.close()
        self._index.close()


def verified_size(folder: Path, items: int) -> int:
    """Bytes of both files, whose entries follow each other and are JPEGs; raises BadData."""
    try:
        with (folder / DATA).open("rb") as data, (folder / INDEX).open("rb") as index:
            end = 0
            for _ in range(items):
                offset, *sizes = ENTRY.unpack(index.read(ENTRY.size))
                if offset != end or max(sizes) > LONGEST:
                    raise BadData("The thumbnails do not follow each other.")
                for size in sizes:
                    if size and not data.read(size).startswith(JPEG):
                        raise BadData("A thumbnail is no JPEG.")
                end += sum(sizes)
            if index.read(1) or data.read(1):
                raise BadData("There are more thumbnails than pictures.")
    except (OSError, struct.error):
        raise BadData("The thumbnails cannot be read.") from None
    return end + items * ENTRY.size


def place_of(index: BinaryIO, n: int, size: int) -> tuple[int, int]:
    """(offset, bytes) of one thumbnail; no bytes when the picture itself is to be shown."""
    index.seek(n * ENTRY.size)
    entry = index.read(ENTRY.size)
    if len(entry) < ENTRY.size:
        return 0, 0
    offset, *sizes = ENTRY.unpack(entry)
    at = SIZES.index(size)
    return offset + sum(sizes[:at]), sizes[at]
