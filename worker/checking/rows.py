"""Lines of a CSV or JSON lines file as rows with their line numbers; a bad row is a Refused in its place.

Shared by texts (a row is a document) and tables (a row tells about a picture).
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from worker.checking.encodings import CHUNK
from worker.checking.refusal import Limits, Refused, Source, suffix_of

CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
JSON_SUFFIXES = frozenset(("jsonl", "ndjson", "json"))
CSV_SUFFIXES = frozenset(("csv", "tsv"))
DELIMITERS = ",;\t"

Row = dict[str, Any]
Rows = Iterator[tuple[int, "Row | Refused"]]


def looks_like_table(name: str) -> bool:
    return suffix_of(name) in CSV_SUFFIXES | JSON_SUFFIXES


def rows_of(source: Source, encoding: str, limits: Limits, wanted: Sequence[str]) -> Rows:
    """Rows by the file's suffix; a CSV must have one of the `wanted` columns."""
    lines = lines_of(source, encoding, limits)
    if suffix_of(source.name) in CSV_SUFFIXES:
        return _csv_rows(lines, limits, wanted)
    return _json_rows(lines)


def first_of(row: Row, names: Sequence[str]) -> str:
    """The first of these columns that the row has; the first name when it has none."""
    return next((name for name in names if name in row), names[0])


def short(row: Row, name: str, longest: int) -> str | None:
    """A cell that is a text on its own, or nothing. Numbers are texts here, formulas too."""
    value = row.get(name)
    if type(value) is int:
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise Refused(f'"{name}" must be a text of at most {longest:,} characters')
    return clean(value)


def clean(text: str) -> str:
    """A text that came out of JSON or CSV, where escapes may have hidden what a file cannot."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    check_characters(text)
    if SURROGATE.search(text):
        raise Refused("holds half of a character (a lone surrogate)")
    return unicodedata.normalize("NFC", text)


def check_characters(text: str) -> None:
    if found := CONTROL.search(text):
        what = (
            "a NUL character"
            if found[0] == "\0"
            else f"a control character (U+{ord(found[0]):04X})"
        )
        raise Refused(f"holds {what}, so it is no text")


def decoded(source: Source, encoding: str) -> Iterator[str]:
    """The file's text piece by piece, every kind of line end as \\n."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("strict"), True)
    stream = source.open()
    while data := stream.read(CHUNK):
        text = decoder.decode(data)
        check_characters(text)
        yield text
    yield decoder.decode(b"", final=True)


def lines_of(source: Source, encoding: str, limits: Limits) -> Iterator[str]:
    """Lines with their end, none longer than the limit."""
    rest = ""
    for text in decoded(source, encoding):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line + "\n"
        if len(rest) > limits.line_characters:
            raise Refused(f"has a line of more than {limits.line_characters:,} characters")
    if rest:
        yield rest


def _json_rows(lines: Iterator[str]) -> Rows:
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


def _csv_rows(lines: Iterator[str], limits: Limits, wanted: Sequence[str]) -> Rows:
    csv.field_size_limit(limits.line_characters)
    first = next(lines, "")
    delimiter = _delimiter_of(first, wanted)
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


def _delimiter_of(first: str, wanted: Sequence[str]) -> str:
    for delimiter in DELIMITERS:
        cells = {cell.strip(' "').lower() for cell in first.rstrip("\n").split(delimiter)}
        if cells & set(wanted):
            return delimiter
    others = f" (or {', '.join(wanted[1:])})" if wanted[1:] else ""
    raise Refused(f'has no column named "{wanted[0]}"{others} in its first line')


def _header(first: str, delimiter: str, limits: Limits) -> list[str]:
    if first.count(delimiter) >= limits.columns:
        raise Refused(f"has more than {limits.columns:,} columns")
    try:
        (cells,) = csv.reader([first], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        raise Refused("its first line cannot be read as CSV") from None
    names = [cell.strip().lower() for cell in cells]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise Refused(f'has two columns named "{twice[:80]}"')
    return names
