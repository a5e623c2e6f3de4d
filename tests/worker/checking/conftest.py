"""Fixtures of the checking tests: the checking code in this process, and the whole check with its child."""

from __future__ import annotations

import pytest

from shared import packs, thumbnails
from worker.checking.check import Check
from worker.checking.refusal import Limits


class Outcome:
    def __init__(self, folder, problems, fatal=False):
        self.folder, self.problems, self.fatal = folder, problems, fatal

    @property
    def messages(self):
        return [problem["message"] for problem in self.problems]

    @property
    def items(self):
        assert self.problems == []
        return list(packs.verified(self.folder))

    @property
    def kept(self):
        """What was packed although there were problems."""
        return list(packs.verified(self.folder))

    @property
    def thumbnails(self):
        """For each item its thumbnails, by size."""
        count = len(self.kept)
        thumbnails.verified_size(self.folder, count)
        data = (self.folder / thumbnails.DATA).read_bytes()
        with (self.folder / thumbnails.INDEX).open("rb") as index:
            places = [
                {size: thumbnails.place_of(index, n, size) for size in thumbnails.SIZES}
                for n in range(count)
            ]
        return [
            {size: data[at : at + length] for size, (at, length) in of.items()} for of in places
        ]

    @property
    def contents(self):
        data = (self.folder / packs.DATA).read_bytes()
        return [data[item.offset : item.end] for item in self.items]


@pytest.fixture
def look(tmp_path):
    """Checks {name: bytes} in this process, without the sandbox: fast, and a debugger works."""

    def look(files, kind="", accept_partial=False, **limits):
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        uploads = []
        for number, (name, data) in enumerate(files.items()):
            path = tmp_path / f"upload-{number}"
            path.write_bytes(data)
            uploads.append((name, path))
        allowed = Limits(**({"data_bytes": 8 << 20} | limits))
        with packs.PackWriter(folder) as writer:
            check = Check(writer, kind, allowed, lambda name: None, accept_partial)
            problems = check.run(uploads)
            writer.finish()
        return Outcome(folder, problems, check.fatal)

    return look
