"""Zip files written while they are read: stored, with fixed dates, so that the same files give the same bytes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO

from stream_zip import NO_COMPRESSION_64, MemberFile, stream_zip

# The first day that the format knows.
DATE = datetime(1980, 1, 1)  # noqa: DTZ001 - the format has no zones
MODE = 0o100644
CHUNK = 1 << 16
LONGEST_PART = 150
# What some system could take for a folder, a drive, a stream, a device or a pattern.
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]')
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.I)


@dataclass(frozen=True)
class Member:
    """One file: its name in the zip, its size, and how to open it; it is opened when its turn comes."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


def zipped(members: Iterable[Member]) -> Iterator[bytes]:
    """Holds one chunk of one file at a time. A file of another size than was said ends the stream with an error."""
    return iter(stream_zip(map(_entry, members), chunk_size=CHUNK, extended_timestamps=False))


def size_of(members: Iterable[Member]) -> int:
    """How long the zip of these will be (there is at least one), without opening any."""
    total = _BARE
    for member in members:
        total += _ENTRY + 2 * len(member.name.encode()) + member.size
    return total


def _entry(member: Member) -> MemberFile:
    # the checksum stands before the bytes, so they are read twice; the second time from the page cache
    checksum = 0
    with member.open() as file:
        for chunk in chunks(file):
            checksum = zlib.crc32(chunk, checksum)
    method = NO_COMPRESSION_64(member.size, checksum)
    return member.name, DATE, MODE, method, _opened(member)


def _opened(member: Member) -> Iterator[bytes]:
    with member.open() as file:
        yield from chunks(file)


def chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _length(count: int) -> int:
    """Of a zip with this many empty files whose names have one letter."""
    empty = ("a", DATE, MODE, NO_COMPRESSION_64(0, 0), ())
    return sum(map(len, stream_zip([empty] * count, extended_timestamps=False)))


# A name stands twice, before its file and in the list at the end; everything else has one length.
_ENTRY = _length(2) - _length(1) - 2
_BARE = _length(1) - _ENTRY - 2


# ---- names -----------------------------------------------------------------------------------------


class Names:
    """Gives each file a name that is safe to unpack everywhere and that no other has, whatever the case."""

    def __init__(self, *taken: str) -> None:
        self._taken = {name.casefold() for name in taken}

    def unique(self, wanted: str) -> str:
        name, number = safe(wanted), 1
        path = PurePosixPath(name)
        while name.casefold() in self._taken:
            number += 1
            name = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        self._taken.add(name.casefold())
        return name


def safe(wanted: str) -> str:
    """A relative path without `..`, without a drive, without what a file system refuses."""
    parts = [_safe_part(part) for part in re.split(r"[/\\]", wanted)]
    return "/".join(part for part in parts if part) or "file"


def _safe_part(part: str) -> str:
    clean = UNSAFE.sub("_", part.encode("utf-8", "replace").decode()).strip().rstrip(".")
    stem, dot, suffix = clean.rpartition(".")
    if len(clean) > LONGEST_PART:
        keep = LONGEST_PART - len(suffix) - 1
        clean = f"{stem[:keep]}.{suffix}" if dot and keep > 0 else clean[:LONGEST_PART]
    return f"_{clean}" if DEVICES.match(clean) or clean.startswith(".") else clean
