"""Tables that lie beside pictures and give their labels and captions, like the metadata.csv of an image folder.

A row names its picture by its path, or by as much of its end as is enough to tell it from the others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from shared.packs import LONGEST_CAPTION, LONGEST_LABEL
from worker.checking.encodings import encoding_of
from worker.checking.kinds import Kind
from worker.checking.refusal import Limits, Refused, Source, amount, display_name
from worker.checking.rows import Row, Rows, first_of, looks_like_table, rows_of, short
from worker.checking.walk import File, Walk

# The columns that are looked for; of several, the first in this order is meant.
FILE = ("file_name", "file", "path", "image")
CAPTION = ("caption", "text")
LABEL = ("label", "class")
LONGEST_PATH = 1000
MOST_NAMESAKES = 200  # pictures of one name in many folders are told apart by whole paths only


@dataclass(frozen=True)
class Said:
    """What a table says about one picture."""

    label: str | None
    caption: str | None


class Survey:
    """The first look at an upload: which kind of dataset it is, and which files are tables beside pictures."""

    def __init__(self, walk: Walk, kind: str) -> None:
        self.kind = kind
        self.tables: set[int] = set()
        candidates = []
        for file in walk.files(_ignore):
            if looks_like_table(file.source.name):
                candidates.append(file.n)
            elif not self.kind:
                self.kind = _kind_of(file)
        if not self.kind and candidates:
            self.kind = Kind.TEXT
        if self.kind == Kind.IMAGES:
            self.tables = set(candidates)


class Tables:
    """Reads all tables of an upload. `tell` hears (name, reason) of each row that cannot be used."""

    def __init__(
        self, walk: Walk, survey: Survey, limits: Limits, tell: Callable[[str, str], None]
    ) -> None:
        self._limits, self._tell = limits, tell
        self._said: dict[int, Said] = {}
        self._lines: dict[int, str] = {}
        if survey.tables:
            self._pictures = _Pictures(walk, survey.tables)
            for file in walk.files(_ignore):
                if file.n in survey.tables:
                    self._read(file)

    def said(self, n: int) -> Said | None:
        return self._said.get(n)

    def _read(self, table: File) -> None:
        told = 0
        try:
            for line, row in self._rows(table.source):
                try:
                    self._take(table, line, row)
                except Refused as error:
                    told += 1
                    if told <= self._limits.table_lines_told:
                        self._tell(table.name, f"line {line:,}: {error}")
        except Refused as error:
            self._tell(table.name, str(error))
        except MemoryError:
            self._tell(table.name, "needs too much memory to be checked")
        if told > self._limits.table_lines_told:
            more = told - self._limits.table_lines_told
            self._tell(table.name, f"{more:,} more lines are refused")

    def _rows(self, source: Source) -> Rows:
        if not source.size:
            raise Refused("is empty")
        if source.size > self._limits.table_bytes:
            raise Refused(f"is larger than {amount(self._limits.table_bytes)}")
        return rows_of(source, encoding_of(source), self._limits, FILE)

    def _take(self, table: File, line: int, row: Row | Refused) -> None:
        if isinstance(row, Refused):
            raise row
        column = first_of(row, FILE)
        wanted = short(row, column, LONGEST_PATH)
        if wanted is None:
            raise Refused(f'"{column}" must name a picture')
        said = Said(
            short(row, first_of(row, LABEL), LONGEST_LABEL),
            short(row, first_of(row, CAPTION), LONGEST_CAPTION),
        )
        n = self._pictures.find(wanted, table)
        if n in self._lines:
            shown = display_name(wanted)
            raise Refused(f'"{shown}" was told of before, in {self._lines[n]}')
        self._said[n] = said
        self._lines[n] = f"line {line:,} of {table.name}"


class _Pictures:
    """The names of all pictures, to find the one that a row means."""

    def __init__(self, walk: Walk, tables: set[int]) -> None:
        self._paths: dict[int, str] = {}
        self._by_path: dict[tuple[int, str], list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        for file in walk.files(_ignore):
            if file.n in tables:
                continue
            path = _normal(file.source.name)
            self._paths[file.n] = path
            self._by_path.setdefault((file.group, path), []).append(file.n)
            self._by_name.setdefault(path.rsplit("/", 1)[-1], []).append(file.n)

    def find(self, wanted: str, table: File) -> int:
        """Beside the table first, then by its path, then by as much of the path as both say."""
        path = _normal(wanted)
        folder, _, _ = _normal(table.source.name).rpartition("/")
        beside = f"{folder}/{path}" if folder else path
        found = (
            self._by_path.get((table.group, beside))
            or self._by_path.get((table.group, path))
            or self._ending(path)
        )
        shown = display_name(wanted)
        if not found:
            raise Refused(f'there is no picture "{shown}" in this upload')
        if len(found) > 1:
            raise Refused(f'"{shown}" could be any of {len(found):,} pictures')
        return found[0]

    def _ending(self, path: str) -> list[int]:
        found = self._by_name.get(path.rsplit("/", 1)[-1], [])
        if len(found) > MOST_NAMESAKES:
            return found
        return [n for n in found if _ends(self._paths[n], path) or _ends(path, self._paths[n])]


def _ends(path: str, end: str) -> bool:
    return f"/{path}".endswith(f"/{end}")


def _normal(path: str) -> str:
    """One spelling of a path: macOS writes accents apart, Windows its own slashes."""
    shown = display_name(unicodedata.normalize("NFC", path.replace("\\", "/")))
    return shown.removeprefix("./").lstrip("/")


def _kind_of(file: File) -> str:
    try:
        kind = file.kind() if file.source.size else ""
    except Refused:
        return ""
    return "" if kind is Kind.ARCHIVE else kind


def _ignore(_name: str, _message: str) -> None:
    """What cannot be opened is told when the files are packed."""
