"""How main sees that a child has frozen: each child counts in shared memory, and main looks whether it still counts.

A process that was stopped inside a transaction holds SQLite's write lock for as long as it sleeps, and nobody but a
process without SQL can end that. Counting costs less than a microsecond.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable

ENTRY = struct.Struct("qQ")  # pid, count


class Pulse:
    """Made by main before it forks. A child calls `begin` once and `beat` at every turn, main calls `frozen`."""

    def __init__(self, children: int) -> None:
        self._shared = mmap.mmap(
            -1, children * ENTRY.size
        )  # anonymous and shared: a fork inherits it
        self._offset = 0
        self._count = 0
        self._seen: dict[
            int, tuple[int, int]
        ] = {}  # pid: its count, and how many looks it has stood still

    # ---- in a child

    def begin(self, index: int) -> None:
        """`index` tells the children of one main apart; who replaces a child gets its index."""
        self._offset, self._count = index * ENTRY.size, 0
        self.beat()

    def beat(self) -> None:
        self._count += 1
        ENTRY.pack_into(self._shared, self._offset, os.getpid(), self._count)

    # ---- in main

    def frozen(self, pids: Iterable[int], looks: float) -> list[int]:
        """Which of these children have not counted for so many looks in a row.

        It goes by main's own looks and no clock: what stops main too, like a suspended machine, is no child's fault.
        """
        counts = dict(ENTRY.iter_unpack(self._shared[:]))
        seen = {}
        for pid in pids:
            if pid in counts:  # who has not begun is Celery's to watch
                count, still = self._seen.get(pid, (0, 0))
                seen[pid] = (counts[pid], still + 1 if counts[pid] == count else 0)
        self._seen = seen
        return [pid for pid, (_, still) in seen.items() if still > looks]

    def is_counting(self, looks: float) -> bool:
        """Whether some child has counted within the last looks of `frozen`."""
        return any(still <= looks for _, still in self._seen.values())
