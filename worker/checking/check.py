"""Checks all files of an upload and packs what is good; one reason for each file that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from shared.packs import PackWriter
from worker.checking.archives import Archive
from worker.checking.images import read_picture
from worker.checking.kinds import HEAD_BYTES, Kind, kind_of
from worker.checking.refusal import (
    Limits,
    Refused,
    Source,
    amount,
    display_name,
    is_junk,
    label_of,
    read_fully,
)
from worker.checking.texts import documents

Problem = dict[str, str]
TOO_MANY = "Further files were not checked."


class EnoughProblems(Exception):
    """Enough is known to refuse the upload."""


class Check:
    """One check. `note` is told the name of each upload before it is looked at."""

    def __init__(
        self, writer: PackWriter, kind: str, limits: Limits, note: Callable[[str], None]
    ) -> None:
        self.problems: list[Problem] = []
        self._writer, self._limits, self._note = writer, limits, note
        self._kind = kind

    def run(self, uploads: list[tuple[str, Path]]) -> list[Problem]:
        try:
            for given, path in uploads:
                name, label = _shown(given)
                self._note(name)
                if not is_junk(name):
                    self._upload(name, label, path)
        except EnoughProblems:
            pass
        if not self.problems and not self._writer.items:
            self.problems.append({"name": "", "message": "There is nothing in this upload."})
        return self.problems

    def _upload(self, name: str, label: str | None, path: Path) -> None:
        with ExitStack() as stack:
            size = path.stat().st_size
            source = Source(name, size, partial(_opened, path, stack), label)
            with self._told(name):
                if not size:
                    raise Refused("is empty")
                if self._kind_of(source) is Kind.ARCHIVE:
                    self._archive(name, stack.enter_context(path.open("rb")))
                else:
                    self._add(source)

    def _archive(self, name: str, file: BinaryIO) -> None:
        archive = Archive(file, self._limits)
        for source in archive.sources():
            with self._told(f"{name}/{source.name}"):
                if not source.size:
                    raise Refused("is empty")
                if self._kind_of(source) is Kind.ARCHIVE:
                    raise Refused("is an archive inside an archive")
                self._add(source)
        for inner, message in archive.problems:
            self._tell(f"{name}/{inner}", message)

    def _kind_of(self, source: Source) -> Kind:
        kind = kind_of(read_fully(source.open(), HEAD_BYTES), source.name)
        if kind is not Kind.ARCHIVE:
            self._kind = self._kind or kind
            if kind != self._kind:
                found = "a picture" if kind is Kind.IMAGES else "a text"
                wanted = "pictures" if self._kind == Kind.IMAGES else "texts"
                raise Refused(f"is {found}, but this dataset holds {wanted}")
        return kind

    def _add(self, source: Source) -> None:
        if self._kind == Kind.IMAGES:
            picture = read_picture(source, self._limits)
            self._writer.add(
                [picture.png],
                name=source.name,
                media_type="image/png",
                facts=picture.facts(),
                label=source.label,
            )
            self._check_room()
            return
        for document in documents(source, self._limits):
            self._writer.add(
                self._within_room(document.chunks),
                name=display_name(document.name),
                media_type="text/plain",
                facts=document.facts,
                label=document.label,
                caption=document.caption,
            )
            self._check_room()

    def _within_room(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        size = self._writer.bytes
        for chunk in chunks:
            size += len(chunk)
            self._check_room(size)
            yield chunk

    def _check_room(self, size: int = 0) -> None:
        most = self._limits.data_bytes
        if max(size, self._writer.bytes) > most:
            self._stop(f"The dataset would be larger than {amount(most)}.")
        if self._writer.items > self._limits.items:
            self._stop(f"The dataset would have more than {self._limits.items:,} items.")

    def _stop(self, message: str) -> None:
        self.problems.append({"name": "", "message": message})
        raise EnoughProblems

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turns what a file is refused for into a problem with its name, and goes on."""
        try:
            yield
        except Refused as error:
            self._tell(name, str(error))
        except MemoryError:
            self._tell(name, "needs too much memory to be checked")

    def _tell(self, name: str, message: str) -> None:
        self.problems.append({"name": display_name(name), "message": message})
        if len(self.problems) >= self._limits.problems:
            self._stop(TOO_MANY)


def _shown(given: str) -> tuple[str, str | None]:
    """(name, label) of an upload: browsers send a folder's files as "cats/1.png"."""
    *folders, last = given.replace("\\", "/").split("/")
    if not folders or not folders[0] or ":" in folders[0] or ".." in folders:
        return display_name(last), None
    return display_name("/".join([*folders, last])), label_of(folders)


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    return stack.enter_context(path.open("rb"))
