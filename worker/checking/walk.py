"""Every file of an upload in order, those in archives too. Walked several times, each time with the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from worker.checking.archives import Archive
from worker.checking.kinds import HEAD_BYTES, Kind, is_archive, kind_of
from worker.checking.refusal import (
    Limits,
    Refused,
    Source,
    display_name,
    is_junk,
    label_of,
    read_fully,
)

LOOSE = -1  # the group of files that lie in no archive
Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class File:
    """One file: its number in the walk, the archive it lies in, its name as people know it."""

    n: int
    group: int
    name: str
    source: Source

    def kind(self) -> Kind:
        """What it is by its first bytes. Raises Refused."""
        return kind_of(read_fully(self.source.open(), HEAD_BYTES), self.source.name)


class Walk:
    """`note` is told the name of each upload before it is looked at."""

    def __init__(
        self, uploads: list[tuple[str, Path]], limits: Limits, note: Callable[[str], None]
    ) -> None:
        self._uploads, self._limits, self._note = uploads, limits, note

    def files(self, tell: Tell) -> Iterator[File]:
        """Files, each readable until the next is asked for; `tell` hears of what cannot be opened."""
        n = 0
        for group, (given, path) in enumerate(self._uploads):
            name, label = _shown(given)
            self._note(name)
            if is_junk(name):
                continue
            with ExitStack() as stack:
                source = Source(name, path.stat().st_size, partial(_opened, path, stack), label)
                try:
                    archive = self._archive(source, path, stack)
                except Refused as error:
                    tell(name, str(error))
                    continue
                except MemoryError:
                    tell(name, "needs too much memory to be checked")
                    continue
                if archive is None:
                    yield File(n, LOOSE, name, source)
                    n += 1
                    continue
                for inner in archive.sources():
                    yield File(n, group, f"{name}/{inner.name}", inner)
                    n += 1
                for inner_name, message in archive.problems:
                    tell(f"{name}/{inner_name}", message)

    def _archive(self, source: Source, path: Path, stack: ExitStack) -> Archive | None:
        head = read_fully(source.open(), HEAD_BYTES)
        if not is_archive(head):
            return None
        kind_of(head, source.name)  # refuses what is named like a model
        return Archive(stack.enter_context(path.open("rb")), self._limits)


def _shown(given: str) -> tuple[str, str | None]:
    """(name, label) of an upload: browsers send a folder's files as "cats/1.png"."""
    *folders, last = given.replace("\\", "/").split("/")
    if not folders or not folders[0] or ":" in folders[0] or ".." in folders:
        return display_name(last), None
    return display_name("/".join([*folders, last])), label_of(folders)


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    return stack.enter_context(path.open("rb"))
