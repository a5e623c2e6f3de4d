"""What a sweep removed and found, by class, and the row that tells of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session

from shared import disk, tallies
from shared.config import Settings
from shared.db import clock
from shared.models import Sweep
from shared.storage import Storage, Stored, is_key

log = logging.getLogger(__name__)


@dataclass
class Counts:
    rows: int = 0
    files: int = 0
    bytes: int = 0


@dataclass
class Swept:
    """Counted while it happens: a sweep that is cut short has told less, never more."""

    removed: dict[str, Counts] = field(default_factory=dict)
    found: dict[str, Counts] = field(default_factory=dict)

    def remove(self, what: str, *, rows: int = 0, files: int = 0, bytes: int = 0) -> None:
        if rows or files:
            _add(self.removed, what, rows, files, bytes)

    def find(self, what: str, size: int) -> None:
        _add(self.found, what, 0, 1, size)

    def ours(self, found: Iterable[Stored]) -> Iterator[Stored]:
        """Without what somebody else put into the storage: it is told, and left where it is."""
        for stored in found:
            if is_key(stored.key):
                yield stored
            else:
                log.warning("no file of Atelier's, left alone: %r", stored.key)
                self.find("orphans", stored.bytes)

    def remove_key(self, what: str, storage: Storage, key: str) -> None:
        if size := storage.delete(key):
            self.remove(what, files=1, bytes=size)

    def remove_file(self, what: str, path: Path) -> None:
        """Counts the bytes of what this call removed; whoever was quicker has counted his own."""
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return
        self.remove(what, files=1, bytes=size)

    @property
    def files(self) -> int:
        return sum(counts.files for counts in self.removed.values())

    @property
    def bytes(self) -> int:
        return sum(counts.bytes for counts in self.removed.values())


def _add(into: dict[str, Counts], what: str, rows: int, files: int, size: int) -> None:
    counts = into.setdefault(what, Counts())
    counts.rows += rows
    counts.files += files
    counts.bytes += size


def tree_size(paths: Iterable[Path]) -> tuple[int, int]:
    """(files, bytes) below these folders."""
    files = size = 0
    for folder in paths:
        for path in folder.rglob("*"):
            try:
                facts = path.lstat()
            except FileNotFoundError:
                continue
            if not path.is_dir():
                files, size = files + 1, size + facts.st_size
    return files, size


@dataclass(frozen=True)
class Begun:
    """The state of the disk before a sweep."""

    id: str
    why: str
    at: float
    free: int


def begin(session: Session, settings: Settings, sweep_id: str, why: str) -> Begun:
    return Begun(sweep_id, why, clock(session), disk.usage(settings)["free_bytes"])


def record(
    session: Session, settings: Settings, begun: Begun, swept: Swept, *, measured: bool
) -> None:
    """The row of a sweep, and the numbers for /metrics. A sweep that did nothing unasked leaves no row."""
    if not swept.removed and not measured:
        return
    now = disk.usage(settings)
    session.merge(
        Sweep(
            id=begun.id,
            why=begun.why,
            removed={what: vars(counts) for what, counts in sorted(swept.removed.items())},
            found={
                what: {"files": counts.files, "bytes": counts.bytes}
                for what, counts in sorted(swept.found.items())
            }
            if measured
            else None,
            free_before=begun.free,
            free_after=now["free_bytes"],
            disk_bytes=now["bytes"],
            started_at=begun.at,
            finished_at=clock(session),
        )
    )
    for what, counts in swept.removed.items():
        tallies.count(session, "swept_bytes", what, counts.bytes)
        tallies.count(session, "swept_files", what, counts.files)
        tallies.count(session, "swept_rows", what, counts.rows)
