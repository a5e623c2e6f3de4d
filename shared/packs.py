"""The packed form of a dataset: data.bin holds the items back to back, manifest.jsonl one line for each.

The checking process writes packs; the parent verifies every line and hash before it believes one.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from shared.errors import BadData
from shared.thumbnails import ThumbnailWriter

MANIFEST = "manifest.jsonl"
DATA = "data.bin"
KIND_OF = {"text/plain": "text", "image/png": "images"}

LONGEST_NAME = 255
LONGEST_LABEL = 120
LONGEST_CAPTION = 10_000
LONGEST_LINE = 1 << 18
CHUNK = 1 << 20
HEAD_BYTES = 32
CONTINUES = bytes(range(0x80, 0xC0))
SHA256 = re.compile(r"[0-9a-f]{64}")
OWN_FIELDS = frozenset(("n", "name", "sha256", "media_type", "offset", "bytes", "label", "caption"))
# what each kind of item must say about itself
FACTS_OF = {"text/plain": ("characters",), "image/png": ("width", "height", "channels")}


@dataclass(frozen=True)
class PackItem:
    """One line of a manifest."""

    n: int
    name: str
    sha256: str
    media_type: str
    offset: int
    bytes: int
    label: str | None = None
    caption: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "facts"}
        return json.dumps(own | self.facts, ensure_ascii=False, separators=(",", ":"))

    @property
    def end(self) -> int:
        return self.offset + self.bytes


@dataclass(frozen=True)
class Pack:
    """What a finished pack holds; `sha256` is the manifest's, so that of every item in order."""

    items: int
    bytes: int
    sha256: str


class PackWriter:
    """Writes a pack into a folder; an item whose chunks raise leaves no trace."""

    def __init__(self, folder: Path) -> None:
        self.items = 0
        self.bytes = 0
        self._folder = folder
        self._thumbnails: ThumbnailWriter | None = None
        self._digest = hashlib.sha256()
        self._data = (folder / DATA).open("wb")
        self._manifest = (folder / MANIFEST).open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._data.close()
        self._manifest.close()
        if self._thumbnails:
            self._thumbnails.close()

    def add(
        self,
        chunks: Iterable[bytes],
        *,
        name: str,
        media_type: str,
        facts: dict[str, Any],
        label: str | None = None,
        caption: str | None = None,
        thumbnails: Sequence[bytes] | None = None,
    ) -> PackItem:
        """`facts` may still be filled in while the chunks are drawn."""
        digest, size = hashlib.sha256(), 0
        try:
            for chunk in chunks:
                digest.update(chunk)
                size += self._data.write(chunk)
        except BaseException:
            self._data.seek(self.bytes)
            self._data.truncate()
            raise
        item = PackItem(
            n=self.items,
            name=name,
            sha256=digest.hexdigest(),
            media_type=media_type,
            offset=self.bytes,
            bytes=size,
            label=label,
            caption=caption,
            facts=facts,
        )
        line = f"{item.line()}\n".encode()
        self._manifest.write(line)
        self._digest.update(line)
        if thumbnails is not None:
            self._thumbnails = self._thumbnails or ThumbnailWriter(self._folder)
            self._thumbnails.add(thumbnails)
        self.items += 1
        self.bytes += size
        return item

    def finish(self) -> Pack:
        self._data.flush()
        self._manifest.flush()
        return Pack(self.items, self.bytes, self._digest.hexdigest())


def read_manifest(path: Path) -> Iterator[PackItem]:
    """Every line, checked for shape and for places without gap or overlap; raises BadData."""
    with path.open("rb") as file:
        yield from _lines_of(file)


def _lines_of(manifest: BinaryIO) -> Iterator[PackItem]:
    n = offset = 0
    while line := manifest.readline(LONGEST_LINE):
        item = _parsed(line)
        if item.n != n or item.offset != offset or item.bytes < 0:
            raise BadData("The manifest's items do not follow each other.")
        yield item
        n, offset = n + 1, item.end


class Section(io.RawIOBase):
    """The bytes of one item as a file of its own; closes the packed file with itself."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._size - self._at)
        self._file.seek(self._offset + self._at)
        data = self._file.read(min(left, len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def verified(folder: Path) -> Iterator[PackItem]:
    """Every item of a pack whose bytes are what the manifest says; raises BadData."""
    with (folder / MANIFEST).open("rb") as manifest, (folder / DATA).open("rb") as data:
        yield from verified_files(manifest, data)


def verified_files(manifest: BinaryIO, data: BinaryIO) -> Iterator[PackItem]:
    """The same, wherever the two files lie."""
    for item in _lines_of(manifest):
        digest, left = hashlib.sha256(), item.bytes
        while left > 0 and (chunk := data.read(min(left, CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        if digest.hexdigest() != item.sha256:
            raise BadData("An item is not what the manifest says.")
        yield item
    if data.read(1):
        raise BadData("The packed file is not as long as the manifest says.")


@dataclass
class Look:
    """What was seen of an item's bytes, by whoever verified them."""

    head: bytes = b""
    characters: int = 0
    line_ends: int = 0


def looked_at(folder: Path) -> Iterator[tuple[PackItem, Look]]:
    """Every item of a pack whose bytes are what the manifest says, and what else they say; raises BadData."""
    end = 0
    with (folder / DATA).open("rb") as data:
        for item in read_manifest(folder / MANIFEST):
            sha256, look = _look_at_next(data, item.bytes)
            if sha256 != item.sha256:
                raise BadData("An item is not what the manifest says.")
            end = item.end
            yield item, look
    if end != (folder / DATA).stat().st_size:
        raise BadData("The packed file is not as long as the manifest says.")


class Facts:
    """Collects, item by item, the facts that rules, costs and forms need (DESIGN.md)."""

    def __init__(self) -> None:
        self.items = self.bytes = self.characters = self.captions = 0
        self.kind = ""
        self._channels = 1
        self._widths: set[int] = set()
        self._heights: set[int] = set()
        self._labels: set[str] = set()

    def add(self, item: PackItem) -> None:
        kind = KIND_OF[item.media_type]
        if self.kind not in ("", kind):
            raise BadData("Texts and pictures cannot be in one dataset.")
        self.kind = kind
        self.items += 1
        self.bytes += item.bytes
        self.captions += item.caption is not None
        if item.label is not None:
            self._labels.add(item.label)
        if kind == "text":
            self.characters += item.facts["characters"]
        else:
            self._widths.add(item.facts["width"])
            self._heights.add(item.facts["height"])
            self._channels = max(self._channels, item.facts["channels"])

    def result(self) -> dict[str, Any]:
        if self.kind != "images":
            return {"items": self.items, "characters": self.characters, "bytes": self.bytes}
        return {
            "items": self.items,
            "width_min": min(self._widths),
            "width_max": max(self._widths),
            "height_min": min(self._heights),
            "height_max": max(self._heights),
            "channels": 1 if self._channels == 1 else 3,
            "labels": sorted(self._labels),
            "classes": len(self._labels),
            "captions": self.captions,
        }


def _look_at_next(data: BinaryIO, size: int) -> tuple[str, Look]:
    digest, look = hashlib.sha256(), Look()
    while size > 0 and (chunk := data.read(min(size, CHUNK))):
        digest.update(chunk)
        look.head = look.head or chunk[:HEAD_BYTES]
        # a character of UTF-8 has one byte that continues none
        look.characters += len(chunk.translate(None, CONTINUES))
        look.line_ends += chunk.count(b"\n")
        size -= len(chunk)
    return digest.hexdigest(), look


def _parsed(line: bytes) -> PackItem:
    try:
        fields = json.loads(line)
        facts = {key: value for key, value in fields.items() if key not in OWN_FIELDS}
        item = PackItem(**{key: fields[key] for key in OWN_FIELDS}, facts=facts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadData("A line of the manifest cannot be read.") from None
    if not _well_formed(item):
        raise BadData("A line of the manifest has a wrong field.")
    return item


def _well_formed(item: PackItem) -> bool:
    return (
        _is_text(item.name, LONGEST_NAME)
        and all(type(number) is int for number in (item.n, item.offset, item.bytes))
        and isinstance(item.sha256, str)
        and bool(SHA256.fullmatch(item.sha256))
        and item.media_type in KIND_OF
        and (item.label is None or _is_text(item.label, LONGEST_LABEL))
        and (item.caption is None or _is_text(item.caption, LONGEST_CAPTION))
        and all(_is_count(item.facts.get(name)) for name in FACTS_OF[item.media_type])
    )


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and "\0" not in value


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 40
