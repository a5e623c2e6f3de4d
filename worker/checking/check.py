"""Checks all files of an upload and packs what is good; one reason for each file that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.packs import PackWriter
from worker.checking.images import read_picture
from worker.checking.kinds import Kind
from worker.checking.refusal import Limits, Refused, Source, amount, display_name
from worker.checking.tables import Said, Survey, Tables
from worker.checking.texts import documents
from worker.checking.walk import File, Walk

Problem = dict[str, str]
TOO_MANY = "Further files were not checked."
NOTHING = Said(None, None)


class EnoughProblems(Exception):
    """Enough is known to refuse the upload."""


class Check:
    """One check. `note` is told the name of each upload before it is looked at.

    With `accept_partial` what is wrong with single files does not end it, however much that is. `fatal` says
    that the upload as a whole is refused: without some of its files it would be no better.
    """

    def __init__(
        self,
        writer: PackWriter,
        kind: str,
        limits: Limits,
        note: Callable[[str], None],
        accept_partial: bool = False,
    ) -> None:
        self.problems: list[Problem] = []
        self.fatal = False
        self._writer, self._limits, self._note = writer, limits, note
        self._kind, self._accept_partial = kind, accept_partial
        self._untold = self._pixels = self._characters = 0

    def run(self, uploads: list[tuple[str, Path]]) -> list[Problem]:
        walk = Walk(uploads, self._limits, self._note)
        try:
            survey = Survey(walk, self._kind)
            self._kind = survey.kind
            tables = Tables(walk, survey, self._limits, self._tell)
            for file in walk.files(self._tell):
                if file.n not in survey.tables:
                    with self._told(file.name):
                        self._add(file, tables.said(file.n) or NOTHING)
        except EnoughProblems:
            pass
        if self._untold:
            message = f"{self._untold:,} more files or lines were left out."
            self.problems.append({"name": "", "message": message})
        if not self.problems and not self._writer.items:
            self.problems.append({"name": "", "message": "There is nothing in this upload."})
        return self.problems

    def _add(self, file: File, said: Said) -> None:
        if not file.source.size:
            raise Refused("is empty")
        self._check_kind(file)
        if self._kind == Kind.IMAGES:
            self._add_picture(file.source, said)
        else:
            self._add_documents(file.source)

    def _check_kind(self, file: File) -> None:
        kind = file.kind()
        if kind is Kind.ARCHIVE:
            raise Refused("is an archive inside an archive")
        self._kind = self._kind or kind
        if kind != self._kind:
            found = "a picture" if kind is Kind.IMAGES else "a text"
            wanted = "pictures" if self._kind == Kind.IMAGES else "texts"
            raise Refused(f"is {found}, but this dataset holds {wanted}")

    def _add_picture(self, source: Source, said: Said) -> None:
        picture = read_picture(source, self._limits)
        self._writer.add(
            [picture.png],
            name=source.name,
            media_type="image/png",
            facts=picture.facts(),
            label=said.label or source.label,
            caption=said.caption,
            thumbnails=picture.thumbnails,
        )
        self._pixels += picture.width * picture.height
        self._check_room()

    def _add_documents(self, source: Source) -> None:
        for document in documents(source, self._limits):
            self._writer.add(
                self._within_room(document.chunks),
                name=display_name(document.name),
                media_type="text/plain",
                facts=document.facts,
                label=document.label,
                caption=document.caption,
            )
            self._characters += document.facts["characters"]
            self._check_room()

    def _within_room(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        size = self._writer.bytes
        for chunk in chunks:
            size += len(chunk)
            self._check_room(size)
            yield chunk

    def _check_room(self, size: int = 0) -> None:
        limits = self._limits
        if max(size, self._writer.bytes) > limits.data_bytes:
            self._stop(f"The dataset would be larger than {amount(limits.data_bytes)}.")
        for count, most, what in (
            (self._writer.items, limits.items, "items"),
            (self._pixels, limits.total_pixels, "pixels"),
            (self._characters, limits.total_characters, "characters"),
        ):
            if count > most:
                self._stop(f"The dataset would have more than {most:,} {what}.")

    def _stop(self, message: str) -> None:
        self.problems.append({"name": "", "message": message})
        self.fatal = True
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
        if len(self.problems) < self._limits.problems:
            self.problems.append({"name": display_name(name), "message": message})
        elif self._accept_partial:
            self._untold += 1
        if len(self.problems) >= self._limits.problems and not self._accept_partial:
            self.problems.append({"name": "", "message": TOO_MANY})
            raise EnoughProblems
