"""Reads zip files that may be hostile: regular files only, every size believed only as far as it is seen.

Nothing is written under a name from an archive; names become labels. Own reader, because the standard library's
builds its whole directory in memory before anything can be refused.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from worker.checking.refusal import (
    MEGABYTE,
    Limits,
    Refused,
    Source,
    amount,
    display_name,
    is_junk,
    label_of,
)

END = struct.Struct("<4s4H2LH")
END64_PLACE = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
ENTRY = struct.Struct("<4s2B5HL2L5H2L")
LOCAL = struct.Struct("<4s5HL2L2H")
LONGEST_COMMENT = 0xFFFF
LONGEST_NAME_BYTES = 1024
DIRECTORY_BYTES = 64 * MEGABYTE
CHUNK = 1 << 16
ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8_NAME = 0x800
UNIX = 3
STORED, DEFLATED = 0, 8
SMALL_ARCHIVE = 100 * MEGABYTE  # below it no ratio is suspicious
DAMAGED = "is damaged, or not a zip file"


@dataclass(frozen=True)
class Entry:
    """One line of the archive's directory."""

    name: str
    raw_name: bytes
    mode: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    next_offset: int = 0

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/") and self.size == 0

    @property
    def least_end(self) -> int:
        return self.offset + LOCAL.size + len(self.raw_name) + self.packed


class Archive:
    """An archive whose directory holds together; what is wrong with single entries is in `problems`."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._limits = limits
        self.problems: list[tuple[str, str]] = []
        start, size, count = _directory_of(file)
        if count > limits.archive_entries or size > DIRECTORY_BYTES:
            raise Refused(f"holds more than {limits.archive_entries:,} files")
        entries = list(_entries(file, start, size, count))
        self._check_sizes(entries)
        self._entries = _without_overlap(entries, start)

    def sources(self) -> Iterator[Source]:
        """Usable entries in the order of their names, so that the order of packing does not matter."""
        seen: set[str] = set()
        for entry in sorted(self._entries, key=lambda entry: entry.name):
            if entry.is_folder or is_junk(entry.name):
                continue
            reason = "is in the archive twice" if entry.name in seen else _reason_against(entry)
            seen.add(entry.name)
            if reason:
                self.problems.append((display_name(entry.name), reason))
                continue
            *folders, _ = entry.name.split("/")
            opened = partial(EntryStream, self._file, entry)
            yield Source(display_name(entry.name), entry.size, opened, label_of(folders))

    def _check_sizes(self, entries: list[Entry]) -> None:
        unpacked = sum(entry.size for entry in entries)
        packed = sum(entry.packed for entry in entries)
        if unpacked > self._limits.data_bytes:
            most = amount(self._limits.data_bytes)
            raise Refused(f"would be larger than {most} when unpacked")
        if unpacked > SMALL_ARCHIVE and unpacked > packed * self._limits.archive_ratio:
            raise Refused("unpacks to suspiciously much")


class EntryStream:
    """Unpacks one entry piece by piece; raises Refused where the bytes are not what was announced."""

    def __init__(self, file: BinaryIO, entry: Entry) -> None:
        self._file, self._entry = file, entry
        self._at = _start_of_data(file, entry)
        self._end = self._at + entry.packed
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._crc = self._made = 0

    def read(self, size: int, /) -> bytes:
        if self._made == self._entry.size and size:
            # one byte more would be a lie: ask for it before the checksum is believed
            self._check_end()
            return b""
        try:
            data = self._next(min(size, self._entry.size - self._made))
        except zlib.error:
            raise Refused("is damaged in the archive") from None
        if not data and size:
            raise Refused("is cut short in the archive")
        self._made += len(data)
        self._crc = zlib.crc32(data, self._crc)
        return data

    def _next(self, size: int) -> bytes:
        if self._entry.method == STORED:
            return self._packed(size)
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._packed(CHUNK)
            data = self._inflate.decompress(packed, size)
            if data or not packed:
                return data
        return b""

    def _packed(self, size: int) -> bytes:
        self._file.seek(self._at)
        data = self._file.read(min(size, self._end - self._at))
        self._at += len(data)
        return data

    def _check_end(self) -> None:
        try:
            more = self._entry.method == DEFLATED and self._next(1)
        except zlib.error:
            raise Refused("is damaged in the archive") from None
        left = self._end - self._at + len(self._inflate.unused_data)
        if more or left or (self._entry.method == DEFLATED and not self._inflate.eof):
            raise Refused("is larger than the archive says")
        if self._crc != self._entry.crc:
            raise Refused("is damaged in the archive: its checksum is wrong")


def _directory_of(file: BinaryIO) -> tuple[int, int, int]:
    """(start, size, number of entries) of the directory at the archive's end."""
    length = file.seek(0, 2)
    tail_start = max(0, length - END.size - LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < END.size:
        raise Refused(DAMAGED)
    _, disk, first_disk, here, count, size, start, comment = END.unpack_from(tail, found)
    end = tail_start + found
    if found + END.size + comment != len(tail) or disk or first_disk or here != count:
        raise Refused(DAMAGED)
    if 0xFFFF in (count, here) or 0xFFFFFFFF in (size, start):
        end, start, size, count = _directory64_of(file, end)
    if start + size != end:
        raise Refused(DAMAGED)
    return start, size, count


def _directory64_of(file: BinaryIO, end: int) -> tuple[int, int, int, int]:
    place = end - END64_PLACE.size
    signature, disk, end64, _ = END64_PLACE.unpack(_read_at(file, place, END64_PLACE.size))
    if signature != b"PK\x06\x07" or disk or end64 + END64.size > place:
        raise Refused(DAMAGED)
    signature, _, _, _, disk, first_disk, here, count, size, start = END64.unpack(
        _read_at(file, end64, END64.size)
    )
    if signature != b"PK\x06\x06" or disk or first_disk or here != count:
        raise Refused(DAMAGED)
    return end64, start, size, count


def _entries(file: BinaryIO, start: int, size: int, count: int) -> Iterator[Entry]:
    directory = _read_at(file, start, size)
    at = 0
    for _ in range(count):
        if at + ENTRY.size > size:
            raise Refused(DAMAGED)
        entry, at = _entry_at(directory, at)
        yield entry
    if at != size:
        raise Refused(DAMAGED)


def _entry_at(directory: bytes, at: int) -> tuple[Entry, int]:
    fields = ENTRY.unpack_from(directory, at)
    signature, _, system, _, flags, method, _, _, crc, packed, size = fields[:11]
    name_length, extra_length, comment_length, _, _, attributes, offset = fields[11:]
    at += ENTRY.size
    raw_name = directory[at : at + name_length]
    extra = directory[at + name_length : at + name_length + extra_length]
    if signature != b"PK\x01\x02" or len(raw_name) < name_length:
        raise Refused(DAMAGED)
    size, packed, offset = _with_zip64(extra, size, packed, offset)
    entry = Entry(
        name=_decoded_name(raw_name, flags),
        raw_name=raw_name,
        mode=attributes >> 16 if system == UNIX else 0,
        flags=flags,
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        offset=offset,
    )
    return entry, at + name_length + extra_length + comment_length


def _with_zip64(extra: bytes, *fields: int) -> tuple[int, int, int]:
    """Sizes and offset, the ones that do not fit in 32 bits from the extra field."""
    wide: bytes = b""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        if tag == 1:
            wide = extra[at + 4 : at + 4 + length]
        at += 4 + length
    found = []
    for field in fields:
        if field == 0xFFFFFFFF:
            if len(wide) < 8:
                raise Refused(DAMAGED)
            field, wide = int.from_bytes(wide[:8], "little"), wide[8:]  # noqa: PLW2901 - reads on
        found.append(field)
    size, packed, offset = found
    return size, packed, offset


def _decoded_name(raw: bytes, flags: int) -> str:
    """Names without the UTF-8 flag are UTF-8 or GB18030 in practice, whatever the standard says."""
    encodings = ("utf-8",) if flags & UTF8_NAME else ("utf-8", "gb18030")
    for encoding in encodings:
        try:
            return raw.decode(encoding).replace("\\", "/")
        except UnicodeDecodeError:
            continue
    return raw.decode("cp437").replace("\\", "/")


def _without_overlap(entries: list[Entry], directory_start: int) -> list[Entry]:
    """Entries that share bytes are how small archives unpack to petabytes."""
    placed = sorted(entries, key=lambda entry: entry.offset)
    following = [*(entry.offset for entry in placed[1:]), directory_start]
    checked = []
    for entry, next_offset in zip(placed, following, strict=False):
        if entry.least_end > next_offset:
            raise Refused("has entries that overlap")
        checked.append(Entry(**{**vars(entry), "next_offset": next_offset}))
    return checked


def _start_of_data(file: BinaryIO, entry: Entry) -> int:
    header = _read_at(file, entry.offset, LOCAL.size + len(entry.raw_name))
    signature, *_, name_length, extra_length = LOCAL.unpack_from(header)
    start = entry.offset + LOCAL.size + int(name_length) + int(extra_length)
    if signature != b"PK\x03\x04" or header[LOCAL.size :] != entry.raw_name[:name_length]:
        raise Refused("is not where the archive says")
    if name_length != len(entry.raw_name) or start + entry.packed > entry.next_offset:
        raise Refused("is not where the archive says")
    return start


def _reason_against(entry: Entry) -> str:
    """Why an entry is refused before it is opened; empty when nothing speaks against it."""
    parts = entry.name.split("/")
    checks = (
        (len(entry.raw_name) > LONGEST_NAME_BYTES, "has a name that is too long"),
        (not parts[-1] or "\0" in entry.name, "has a name that cannot be used"),
        (not parts[0] or ":" in parts[0], "has an absolute path"),
        (".." in parts, "leads out of the archive"),
        (stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG), "is a link or no regular file"),
        (entry.flags & ENCRYPTED, "is encrypted"),
        (entry.method not in (STORED, DEFLATED), "is compressed in a way that is not accepted"),
        (entry.method == STORED and entry.packed != entry.size, "is not as large as it says"),
    )
    return next((reason for found, reason in checks if found), "")


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset < 0:
        raise Refused(DAMAGED)
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise Refused(DAMAGED)
    return data
