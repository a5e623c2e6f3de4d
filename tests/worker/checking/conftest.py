"""Fixtures of the checking tests: the checking code in this process, and the whole check with its child."""

from __future__ import annotations

import pytest

from shared import packs
from worker.checking.check import Check
from worker.checking.refusal import Limits


class Outcome:
    def __init__(self, folder, problems):
        self.folder, self.problems = folder, problems

    @property
    def messages(self):
        return [problem["message"] for problem in self.problems]

    @property
    def items(self):
        assert self.problems == []
        return list(packs.verified(self.folder))

    @property
    def contents(self):
        data = (self.folder / packs.DATA).read_bytes()
        return [data[item.offset : item.end] for item in self.items]


@pytest.fixture
def look(tmp_path):
    """Checks {name: bytes} in this process, without the sandbox: fast, and a debugger works."""

    def look(files, kind="", **limits):
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        uploads = []
        for number, (name, data) in enumerate(files.items()):
            path = tmp_path / f"upload-{number}"
            path.write_bytes(data)
            uploads.append((name, path))
        allowed = Limits(**({"data_bytes": 8 << 20} | limits))
        with packs.PackWriter(folder) as writer:
            problems = Check(writer, kind, allowed, note=lambda name: None).run(uploads)
            writer.finish()
        return Outcome(folder, problems)

    return look
