"""Wakes long polls and event streams: one thread asks SQL for the versions of all watched jobs at once.

A waiter holds no database session and costs no query of its own; the thread runs only while somebody waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from shared.db import ChangeMark, Database
from shared.models import Job
from web.slots import Slot, Slots

# What a change waits at most before it is seen; 300 streams then hear of it within 0.2 s.
LOOK_SECONDS = 0.1
# SQLite allows 32,766 bound values; a web process has far fewer threads than this.
MOST_WATCHED = 5000

log = logging.getLogger(__name__)


class Feed:
    """The versions of the jobs that somebody waits for."""

    def __init__(self, db: Database, most_waiters: int, look_seconds: float = LOOK_SECONDS) -> None:
        self._db = db
        self._look_seconds = look_seconds
        self._changed = threading.Condition()
        self.slots = Slots(most_waiters, wake=self._wake)
        self._watched: Counter[str] = Counter()
        self._versions: dict[str, int] = {}
        self._arrivals = 0  # who has just come may have seen less than the last look found
        self._thread: threading.Thread | None = None
        self.closed = threading.Event()

    def wait(self, slot: Slot, job_id: str, seen: int, seconds: float) -> bool:
        """True as soon as the job's version is beyond `seen`; False when the time is over, or the place is needed."""
        until = time.monotonic() + seconds
        with self._watching(job_id), self._changed:
            # what the thread read may be older than `seen`, and versions only grow
            while self._versions.get(job_id, seen) <= seen and not slot.leave.is_set():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return not slot.leave.is_set()

    def close(self) -> None:
        """Lets every waiter go."""
        self.closed.set()
        self.slots.close()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @contextmanager
    def _watching(self, job_id: str) -> Iterator[None]:
        with self._changed:
            self._watched[job_id] += 1
            self._arrivals += 1
            if self._thread is None and not self.closed.is_set():
                self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._watched[job_id] -= 1
                if not self._watched[job_id]:
                    del self._watched[job_id]
                    self._versions.pop(job_id, None)

    def _run(self) -> None:
        mark = self._db.change_mark()
        try:
            self._watch(mark)
        finally:
            if mark is not None:
                mark.close()

    def _watch(self, mark: ChangeMark | None) -> None:
        seen: tuple[int, int] | None = None
        while True:
            with self._changed:
                if self.closed.is_set() or not self._watched:
                    self._thread = None
                    return
                ids, arrivals = list(self._watched)[:MOST_WATCHED], self._arrivals
            found: dict[str, int] = {}
            try:
                # read before the rows: what is committed in between is seen next time
                now = None if mark is None else (mark.read(), arrivals)
                if now is None or now != seen:
                    found = self._look(ids)
                seen = now
            except Exception as error:
                # waiters run into their time limit and then meet the database's error themselves
                log.warning("the feed cannot read: %s", error)
            with self._changed:
                if any(self._versions.get(job_id) != n for job_id, n in found.items()):
                    self._versions.update(
                        {job_id: n for job_id, n in found.items() if job_id in self._watched}
                    )
                    self._changed.notify_all()
            self.closed.wait(self._look_seconds)

    def _look(self, ids: list[str]) -> dict[str, int]:
        with self._db.reading() as session:
            rows = session.execute(select(Job.id, Job.version).where(Job.id.in_(ids)))
            return {job_id: version for job_id, version in rows}
