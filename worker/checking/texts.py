"""Turns an uploaded text, JSON lines or CSV file into documents: UTF-8, NFC, \\n, nothing that is no text.

Plain text is streamed: a document may be as large as the upload, a line of JSON or CSV may not.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.packs import LONGEST_CAPTION, LONGEST_LABEL, LONGEST_NAME
from worker.checking.encodings import CHUNK, encoding_of
from worker.checking.refusal import Limits, Refused, Source, amount, read_fully
from worker.checking.rows import (
    Row,
    Rows,
    clean,
    decoded,
    first_of,
    looks_like_table,
    rows_of,
    short,
)

# Nothing composes with a character before one of these, so a long text may be cut there.
LAST_CUT = re.compile(r".*([\x00-\x7f\u4e00-\u9fff])", re.DOTALL)
LONGEST_RUN = 1 << 20
# The columns that are looked for; of several, the first in this order is meant.
TEXT = ("text", "content", "body", "document")
LABEL = ("label", "class")


@dataclass
class Document:
    """One text to keep. `facts` is complete when the chunks have been drawn."""

    name: str
    chunks: Iterable[bytes]
    facts: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    caption: str | None = None


def documents(source: Source, limits: Limits) -> Iterator[Document]:
    """Every document of a file; raises Refused, if need be after some of them."""
    encoding = encoding_of(source)
    if looks_like_table(source.name) or _begins_as_json(source):
        return _records(source, rows_of(source, encoding, limits, TEXT), limits)
    if source.size > limits.text_bytes:
        raise Refused(f"is larger than {amount(limits.text_bytes)}")
    return iter([_plain(source, encoding)])


def _plain(source: Source, encoding: str) -> Document:
    facts = {"characters": 0}

    def chunks() -> Iterator[bytes]:
        blank = True
        for text in _normalised(decoded(source, encoding)):
            facts["characters"] += len(text)
            blank = blank and text.isspace()
            yield text.encode()
        if blank:
            raise Refused("holds no text")

    return Document(source.name, chunks(), facts, source.label)


def _records(source: Source, rows: Rows, limits: Limits) -> Iterator[Document]:
    """Documents of a file that has one to a line; bad lines are counted, and the first is told."""
    bad, first, good = 0, "", 0
    for line, row in rows:
        try:
            if isinstance(row, Refused):
                raise row
            document = _document(f"{source.name}:{line}", row, limits)
        except Refused as error:
            bad += 1
            first = first or f"line {line:,}: {error}"
            continue
        good += 1
        document.label = document.label or source.label
        yield document
    if bad:
        raise Refused(first + (f"; {bad - 1:,} more lines are refused" if bad > 1 else ""))
    if not good:
        raise Refused("holds no documents")


def _document(name: str, row: Row, limits: Limits) -> Document:
    column = first_of(row, TEXT)
    text = row.get(column)
    if not isinstance(text, str) or not text or text.isspace():
        raise Refused(f'"{column}" must hold some text')
    data = (text := clean(text)).encode()
    if len(data) > limits.text_bytes:
        raise Refused(f"is larger than {amount(limits.text_bytes)}")
    title = short(row, "title", LONGEST_NAME)
    return Document(
        name=f"{name} {title}" if title else name,
        chunks=[data],
        facts={"characters": len(text)},
        label=short(row, first_of(row, LABEL), LONGEST_LABEL),
        caption=short(row, "caption", LONGEST_CAPTION),
    )


# ---- characters --------------------------------------------------------------------------------


def _normalised(texts: Iterator[str]) -> Iterator[str]:
    """NFC, piece by piece: cut only where no character could compose across the cut."""
    rest = ""
    for text in texts:
        start = len(rest)
        rest += text
        found = LAST_CUT.match(rest, start)
        if found and (cut := found.start(1)):
            yield unicodedata.normalize("NFC", rest[:cut])
            rest = rest[cut:]
        elif len(rest) > LONGEST_RUN:
            raise Refused("holds a run of characters that is too long to be text")
    if rest:
        yield unicodedata.normalize("NFC", rest)


def _begins_as_json(source: Source) -> bool:
    """Whether the first line is an object with a text, whatever the file's name."""
    head = read_fully(source.open(), CHUNK).removeprefix(codecs.BOM_UTF8)
    first = head.split(b"\n", 1)[0]
    if not first.startswith(b"{"):
        return False
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and isinstance(row.get("text"), str)
