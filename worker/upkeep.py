"""What every supervisor does for all of them, on the side: reap leases, order sweeps, repeat lost wake-ups."""

from __future__ import annotations

import logging

from shared import disk, jobs, short_tasks
from shared.config import Settings
from shared.db import Database, clock
from shared.queue import Wakeups
from worker.broken_rows import fail_broken

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
FILES_SECONDS = 3600.0
# A short task that is due for longer must have lost its wake-up.
LOST_WAKEUP_SECONDS = 2.0


class Upkeep:
    def __init__(self, settings: Settings, db: Database, wakeups: Wakeups, worker_id: str) -> None:
        self._settings = settings
        self._worker_id = worker_id
        self._db = db
        self._wakeups = wakeups
        self._next_reap = 0.0
        self._next_sweep = 0.0
        self._next_nudge = 0.0

    def turn(self, now: float) -> None:
        """Does what is due by the monotonic clock `now`."""
        if now >= self._next_reap:
            self._next_reap = now + self._settings.reap_seconds
            self._reap()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            self._order_sweeps()
        if now >= self._next_nudge:
            self._next_nudge = now + LOST_WAKEUP_SECONDS
            with self._db.reading() as session:
                lost = short_tasks.due_since(session, LOST_WAKEUP_SECONDS)
            if lost:
                self._wakeups.tasks()

    def _reap(self) -> None:
        try:
            with self._db.writing() as session:
                jobs.reap(
                    session,
                    version_gone_seconds=self._settings.version_gone_seconds,
                    backoff_seconds=self._settings.backoff_seconds,
                )
        except (ValueError, TypeError):
            log.exception("a job's row cannot be read")
            with self._db.writing() as session:
                fail_broken(session, self._worker_id)

    def _order_sweeps(self) -> None:
        """Rows every minute, files every hour or while the disk is filling up; the slot makes it one,
        however many workers ask."""
        orders = [("rows", SWEEP_SECONDS), ("hourly", FILES_SECONDS)]
        if disk.is_filling(self._settings):
            orders.append(("disk", SWEEP_SECONDS))
        with self._db.writing() as session:
            at = clock(session)
            for why, seconds in orders:
                slot = f"sweep:{why}:{int(at // seconds)}"
                short_tasks.add(session, "sweep", {"files": why != "rows", "why": why}, slot=slot)
