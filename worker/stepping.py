"""The runner's note of whom it is stepping, in a small file that outlives it: the suspects of its death."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path

SIZE = 4096


class Stepping:
    """`"job\\njob\\n\\0"` while these jobs are stepped, NUL when none is."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SIZE)

    @staticmethod
    def note(jobs: Iterable[str]) -> bytes:
        """What to write for these jobs; made once for many steps."""
        text = b""
        for job in jobs:
            line = f"{job}\n".encode()
            if len(text) + len(line) < SIZE:
                text += line
        return text + b"\0"

    def mark(self, note: bytes) -> None:
        self._memory[: len(note)] = note

    def clear(self) -> None:
        self._memory[0] = 0
