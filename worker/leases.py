"""What the supervisor says to SQL about the jobs it holds: one read per look, one write per heartbeat."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared import jobs, scheduling, shares
from shared.config import Settings
from shared.db import Database, clock, is_away
from shared.failpoints import failpoint
from shared.job_records import Flags, Lease, Report
from shared.models import Job
from shared.schema import Schema
from worker.broken_rows import fail_broken
from worker.held import Held, Phase
from worker.presence import Presence

log = logging.getLogger(__name__)

GENERATION_LANES = ("interactive", "batch")
TRAIN_LANES = ("train",)
# So many at a time, so that two workers share a long queue.
CLAIMED_AT_ONCE = 8
REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class Seen:
    """What a look into SQL found."""

    flags: list[tuple[Held, Flags]]
    drain: bool
    lanes: tuple[str, ...]  # with work that fits here


class Leases:
    def __init__(self, settings: Settings, db: Database, presence: Presence) -> None:
        self._settings = settings
        self._db = db
        self._presence = presence
        self._schema = Schema()
        self.renewed = 0.0  # monotonic, before the last renewal that succeeded
        self._next_beat = 0.0
        self._next_report = 0.0
        self._announcing = False
        self.more = False  # generations probably wait for which there was no room

    def announce_soon(self) -> None:
        self._announcing = True
        self._next_beat = 0.0

    def look(self, held: list[Held], room: bool) -> Seen:
        with self._db.reading() as session:
            if not self._schema.fits(session):
                # no other question: of a newer schema it may fail, and then nobody would be told to drain
                return Seen([], drain=True, lanes=())
            drain = self._presence.drain_requested(session)
            lanes = tuple(lane for lanes, _ in self._room(held) for lane in lanes)
            if room and not drain and lanes:
                most = self._settings.max_running_jobs
                versions = self._presence.versions
                lanes = scheduling.lanes_with_work(session, versions, lanes, most)
            else:
                lanes = ()
            return Seen(self._flags(session, held), drain, lanes)

    def _flags(self, session: Session, held: list[Held]) -> list[tuple[Held, Flags]]:
        by_lease = {h.lease: h for h in held if h.on_device}
        if not by_lease:
            return []
        at = clock(session)
        rows = session.execute(
            select(
                Job.id, Job.fence, Job.cancel_requested_at, Job.paused_at, Job.deadline_at
            ).where(Job.id.in_([lease.job_id for lease in by_lease]), Job.state == "running")
        )
        return [
            (by_lease[lease], Flags(bool(cancel), bool(pause), bool(deadline and deadline < at)))
            for job_id, fence, cancel, pause, deadline in rows
            if (lease := Lease(job_id, fence)) in by_lease
        ]

    def is_due(self, now: float) -> bool:
        return now >= self._next_beat or now >= self._next_report

    def write(self, held: list[Held], now: float, state: str) -> list[tuple[Held, Flags | None]]:
        """The one transaction: heartbeats when due, and what the jobs have to say."""
        beating = now >= self._next_beat
        reports = [(h, r) for h in held if h.on_device and (r := h.pending.take())]
        if not beating and not reports:
            self._next_report = now + REPORT_SECONDS
            return []
        uses = {h.lease: h.used for h in held if h.phase is not Phase.DROPPED}
        started = time.monotonic()
        try:
            with self._db.writing() as session:
                answers = self._beat(session, uses, state) if beating else {}
                for h, report in reports:
                    self._report(session, h, report)
        except DBAPIError:
            for h, report in reports:
                h.pending.put_back(report)
            raise
        self._next_report = now + REPORT_SECONDS
        if not beating:
            return []
        self._next_beat = now + self._settings.heartbeat_seconds
        self.renewed = started
        self._announcing = False
        for h in held:
            h.used -= uses.get(h.lease, 0.0)
        return [(h, answers[h.lease]) for h in held if h.lease in answers]

    def _beat(
        self, session: Session, uses: dict[Lease, float], state: str
    ) -> dict[Lease, Flags | None]:
        if self._announcing:
            self._presence.announce(session)
        self._presence.write(session, state)
        if not uses:
            return {}
        return jobs.heartbeat(session, self._presence.worker_id, uses, self._settings.lease_seconds)

    def _report(self, session: Session, held: Held, report: Report) -> None:
        try:
            with shares.apart(session):
                jobs.report(session, held.lease, report, most_log_bytes=self._settings.log_bytes)
        except Exception as error:
            if is_away(error):
                raise
            # What this job says must not keep the others' leases from being renewed.
            log.exception("a report of %s was refused", held.key)

    def to_rotate(self, held: list[Held], now: float) -> list[Held]:
        """Trainings that have had their slice while somebody who had less waits."""
        old = [
            h
            for h in held
            if h.is_training
            and h.phase is Phase.RUNNING
            and not h.ending
            and now - h.since >= self._settings.slice_seconds
        ]
        if not old:
            return []
        with self._db.reading() as session:
            most = self._settings.max_running_jobs
            return [h for h in old if scheduling.should_rotate(session, h.job, most)]

    def claim(self, held: list[Held], where: Collection[str]) -> Iterator[Job]:
        """From the lanes where a look has found work: each claim takes SQLite's one write lock.

        One by one: what the first lanes gave must be taken even if the next claim raises.
        """
        if not any(h.on_device for h in held):
            self.renewed = time.monotonic()
        for lanes, limit in self._room(held):
            if set(lanes).isdisjoint(where):
                self.more = self.more and lanes != GENERATION_LANES
                continue
            yield from self._claim(lanes, limit)

    def _claim(self, lanes: tuple[str, ...], limit: int) -> list[Job]:
        offer = scheduling.Offer(
            worker_id=self._presence.worker_id,
            lanes=lanes,
            families=self._presence.versions,
            limit=limit,
            lease_seconds=self._settings.lease_seconds,
            max_running_jobs=self._settings.max_running_jobs,
        )
        try:
            with self._db.writing() as session:
                claimed = scheduling.claim(session, offer)
                # after it: the claim may have waited for a migration to let go of the table
                if claimed and not self._schema.fits(session):
                    session.rollback()
                    claimed = []
        except (ValueError, TypeError):
            # A row that cannot be read would end every claim: it fails, the others go on.
            log.exception("a job's row cannot be read")
            with self._db.writing() as session:
                fail_broken(session, offer.worker_id)
            return []
        if lanes == GENERATION_LANES:
            self.more = len(claimed) == limit
        if claimed:
            failpoint("after_claim")
        return claimed

    def _room(self, held: list[Held]) -> list[tuple[tuple[str, ...], int]]:
        """(lanes, how many jobs) that fit beside what is held."""
        here = [h for h in held if h.phase is not Phase.CLOSING]
        room: list[tuple[tuple[str, ...], int]] = []
        free = self._settings.generation_items - sum(h.items for h in here)
        if free > 0:
            room.append((GENERATION_LANES, min(CLAIMED_AT_ONCE, free)))
        if not any(h.is_training for h in here):
            room.append((TRAIN_LANES, 1))
        return room

    def say_goodbye(self) -> None:
        try:
            with self._db.writing() as session:
                self._presence.write(session, "gone")
        except DBAPIError as error:
            log.warning("not signed off: %s", error.orig)
