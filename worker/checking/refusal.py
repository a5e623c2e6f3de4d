"""A refusal with its reason, the limits that lead to one, and the file-like thing that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from shared.packs import LONGEST_LABEL, LONGEST_NAME

MEGABYTE = 1 << 20


class Refused(Exception):
    """Says in words for its owner why a file cannot be used; never holds a path of this machine."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Source:
    """One uploaded file, or one file in an uploaded archive. Its name is a label, never a path."""

    name: str
    size: int
    open: Callable[[], Readable]
    label: str | None = None

    def read_all(self, most: int) -> bytes:
        if self.size > most:
            raise Refused(f"is larger than {amount(most)}")
        return read_fully(self.open(), most)


@dataclass(frozen=True)
class Limits:
    """What one upload may cost. The sizes of a whole dataset come from the settings."""

    data_bytes: int
    items: int = 1_000_000
    total_pixels: int = 100_000_000_000
    total_characters: int = 4_000_000_000
    text_bytes: int = 2 << 30
    table_bytes: int = 64 * MEGABYTE
    table_lines_told: int = 20
    archive_entries: int = 200_000
    archive_ratio: int = 200
    image_bytes: int = 64 * MEGABYTE
    image_side: int = 8192
    image_pixels: int = 40_000_000
    line_characters: int = 16 * MEGABYTE
    columns: int = 1000
    problems: int = 200


def read_fully(stream: Readable, most: int) -> bytes:
    """At most `most` bytes, however small the pieces come."""
    pieces, left = [], most
    while left and (piece := stream.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def amount(size: int) -> str:
    for unit, word in ((1 << 30, "GB"), (MEGABYTE, "MB"), (1 << 10, "kB")):
        if size >= unit:
            return f"{size / unit:,.0f} {word}"
    return f"{size} bytes"


def display_name(name: str) -> str:
    """A name that can be shown on one line and stored; the end of it, where the suffix is."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return shown[-LONGEST_NAME:] or "file"


def label_of(folders: list[str]) -> str | None:
    """The last folder's name is the label of what lies in it."""
    return display_name(folders[-1])[:LONGEST_LABEL] if folders and folders[-1] else None


def suffix_of(name: str) -> str:
    return PurePosixPath(name.lower()).suffix.removeprefix(".")


def is_junk(name: str) -> bool:
    """Files that operating systems leave in folders and archives without being asked."""
    *folders, last = name.split("/")
    return (
        "__MACOSX" in folders
        or last in (".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini")
        or last.startswith("._")
    )
