"""Turns an uploaded text, JSON lines or CSV file into documents: UTF-8, NFC, \\n, nothing that is no text.

Plain text is streamed: a document may be as large as the upload, a line of JSON or CSV may not.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.packs import LONGEST_CAPTION, LONGEST_LABEL
from worker.checking.encodings import CHUNK, encoding_of
from worker.checking.refusal import Limits, Refused, Source, read_fully, suffix_of

CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
# Nothing composes with a character before one of these, so a long text may be cut there.
LAST_CUT = re.compile(r".*([\x00-\x7f\u4e00-\u9fff])", re.DOTALL)
LONGEST_RUN = 1 << 20
JSON_SUFFIXES = frozenset(("jsonl", "ndjson", "json"))
CSV_SUFFIXES = frozenset(("csv", "tsv"))
DELIMITERS = ",;\t"


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
    suffix = suffix_of(source.name)
    if suffix in CSV_SUFFIXES:
        return _records(source, _csv_rows(_lines(source, encoding, limits), limits))
    if suffix in JSON_SUFFIXES or _begins_as_json(source):
        return _records(source, _json_rows(_lines(source, encoding, limits)))
    return iter([_plain(source, encoding)])


def _plain(source: Source, encoding: str) -> Document:
    facts = {"characters": 0}

    def chunks() -> Iterator[bytes]:
        blank = True
        for text in _normalised(_decoded(source, encoding)):
            facts["characters"] += len(text)
            blank = blank and text.isspace()
            yield text.encode()
        if blank:
            raise Refused("holds no text")

    return Document(source.name, chunks(), facts, source.label)


def _records(
    source: Source, rows: Iterator[tuple[int, dict[str, Any] | Refused]]
) -> Iterator[Document]:
    """Documents of a file that has one to a line; bad lines are counted, and the first is told."""
    bad, first, good = 0, "", 0
    for line, row in rows:
        try:
            if isinstance(row, Refused):
                raise row
            document = _document(f"{source.name}:{line}", row)
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


def _document(name: str, row: dict[str, Any]) -> Document:
    text = row.get("text")
    if not isinstance(text, str) or not text or text.isspace():
        raise Refused('"text" must hold some text')
    text = _clean(text)
    return Document(
        name=name,
        chunks=[text.encode()],
        facts={"characters": len(text)},
        label=_short(row, "label", LONGEST_LABEL),
        caption=_short(row, "caption", LONGEST_CAPTION),
    )


def _short(row: dict[str, Any], name: str, longest: int) -> str | None:
    value = row.get(name)
    if type(value) is int:
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise Refused(f'"{name}" must be a text of at most {longest:,} characters')
    return _clean(value)


def _clean(text: str) -> str:
    """A text that came out of JSON or CSV, where escapes may have hidden what a file cannot."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    _check(text)
    if SURROGATE.search(text):
        raise Refused("holds half of a character (a lone surrogate)")
    return unicodedata.normalize("NFC", text)


# ---- lines -------------------------------------------------------------------------------------


def _json_rows(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any] | Refused]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield number, Refused("is not JSON; each line must be one object")
            continue
        ok = isinstance(row, dict)
        yield number, row if ok else Refused('must be an object like {"text": "..."}')


def _csv_rows(
    lines: Iterator[str], limits: Limits
) -> Iterator[tuple[int, dict[str, Any] | Refused]]:
    csv.field_size_limit(limits.line_characters)
    first = next(lines, "")
    delimiter = _delimiter_of(first)
    header = _header(first, delimiter, limits)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 2  # of the line where the next row begins
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Refused(f"line {number:,}: cannot be read as CSV ({error})") from None
        if not cells:
            continue
        if len(cells) != len(header):
            message = f"has {len(cells):,} cells where the first line has {len(header):,}"
            yield number, Refused(message)
        else:
            yield number, dict(zip(header, cells, strict=True))


def _delimiter_of(first: str) -> str:
    for delimiter in DELIMITERS:
        cells = first.rstrip("\n").split(delimiter)
        if "text" in (cell.strip(' "').lower() for cell in cells):
            return delimiter
    raise Refused('has no column named "text" in its first line')


def _header(first: str, delimiter: str, limits: Limits) -> list[str]:
    if first.count(delimiter) >= limits.columns:
        raise Refused(f"has more than {limits.columns:,} columns")
    try:
        (cells,) = csv.reader([first], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        raise Refused("its first line cannot be read as CSV") from None
    return [cell.strip().lower() for cell in cells]


def _lines(source: Source, encoding: str, limits: Limits) -> Iterator[str]:
    """Lines with their end, none longer than the limit."""
    rest = ""
    for text in _decoded(source, encoding):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line + "\n"
        if len(rest) > limits.line_characters:
            raise Refused(f"has a line of more than {limits.line_characters:,} characters")
    if rest:
        yield rest


# ---- characters --------------------------------------------------------------------------------


def _decoded(source: Source, encoding: str) -> Iterator[str]:
    """The file's text piece by piece, every kind of line end as \\n."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("strict"), True)
    stream = source.open()
    while data := stream.read(CHUNK):
        text = decoder.decode(data)
        _check(text)
        yield text
    yield decoder.decode(b"", final=True)


def _check(text: str) -> None:
    if found := CONTROL.search(text):
        what = (
            "a NUL character"
            if found[0] == "\0"
            else f"a control character (U+{ord(found[0]):04X})"
        )
        raise Refused(f"holds {what}, so it is no text")


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
