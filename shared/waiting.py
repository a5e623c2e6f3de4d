"""Where a queued job stands and when it will start, in the order of shared/scheduling.py; what a running one has left.

Nothing is simulated job by job: of every other user as much goes first as fits before this user's turn comes, so the
work is one pass in SQL however many are queued. What is not known is said to be unknown.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import catalog
from shared.db import clock
from shared.job_records import NewJob
from shared.models import Job, UserShare, Worker
from shared.queue_sums import BY_USER, EARLIER, LATER, RUNNING
from shared.shares import FLOOR, PREPAID_SECONDS

# Lanes whose jobs a worker takes first.
BEFORE = {"batch": ("interactive",)}
SLOTS = 64  # outputs in flight on a device, as the setting generation_items has it
SHARED = 2.0  # a training and generations on one device have half of it each
LONGEST_ROW = 100  # trainings ahead that are put on devices one by one


@dataclass(frozen=True)
class Place:
    """`reason` says why it does not run yet: paused, waits_for, no_worker, backoff, device_busy, unknown (device_busy,
    and nobody knows how long), or starting, when a device has room."""

    position: int | None = None
    starts_at: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Line:
    """Jobs that go first: how many, how long they take, of how many nobody knows how long."""

    jobs: int = 0
    seconds: float = 0.0
    unknown: int = 0

    def __add__(self, other: _Line) -> _Line:
        return _Line(
            self.jobs + other.jobs, self.seconds + other.seconds, self.unknown + other.unknown
        )

    def __sub__(self, other: _Line) -> _Line:
        seconds = max(0.0, self.seconds - other.seconds)
        return _Line(self.jobs - other.jobs, seconds, self.unknown - other.unknown)


@dataclass(frozen=True)
class _Asks:
    """What has to be known of a job to find its place."""

    user_id: str
    lane: str
    kind: str
    family: tuple[str, int]
    items: int
    own: _Line  # its owner's jobs that go first


def places(session: Session, jobs: Sequence[Job]) -> dict[str, Place]:
    """The places of one user's jobs, by id; empty ones for those that are not queued."""
    waiting = [job for job in jobs if job.state == "queued"]
    if not waiting:
        return {}
    now = _Now(session)
    own = _own_lines(now, waiting)
    parents = _unfinished(session, waiting)
    found = {}
    for job in waiting:
        if job.paused_at is not None:
            found[job.id] = Place(reason="paused")
            continue
        place = now.place(_asks(job, own.get(job.id, _Line())))
        if job.waits_for in parents:
            place = Place(place.position, None, "waits_for")
        elif job.not_before is not None and job.not_before > now.at:
            place = Place(place.position, None, "backoff")
        found[job.id] = place
    return found


def place_of_new(session: Session, new: NewJob) -> Place:
    """Where a job would stand if it were accepted now."""
    now = _Now(session)
    rank = now.at - 600.0 * new.priority  # as jobs.accept will set it
    # an id that was made in the same moment goes first
    place = now.place(_asks(new, now.before(new, math.nextafter(rank, math.inf), "")))
    if new.waits_for and _unfinished(session, [new]):
        return Place(place.position, None, "waits_for")
    return place


def left_seconds(job: Any, at: float, sharing: float = 1.0) -> float | None:
    """Seconds until a running job ends by its own pace, before its first step by its estimate; None when unknown.

    The clock of a job that was given back also ran while it waited: then it is its device-seconds that count.
    """
    step, total = job.progress_step, job.progress_total
    made = step - (job.continues_step or 0)  # a training that goes on did not make the first ones
    first = job.attempt == 1 and job.started_at is not None
    so_far = max(0.0, at - job.started_at) if first else job.device_seconds * sharing
    if made > 0 and total and so_far:
        return float(so_far / made * max(0, total - step))
    if job.estimate_seconds is None:
        return None
    left = job.estimate_seconds * sharing - so_far
    return left if left > 0 else None  # it takes longer than was thought


def sharing(session: Session, jobs: Sequence[Job]) -> dict[str, float]:
    """How many times as long these running jobs take as alone, because of what else is on their devices."""
    owners = {job.owner for job in jobs if job.state == "running" and job.owner}
    if not owners:
        return {}
    rows = session.execute(
        select(Job.owner, Job.kind).where(Job.state == "running", Job.owner.in_(owners)).distinct()
    ).all()
    both = {owner for owner, kind in rows if kind == "train"} & {
        owner for owner, kind in rows if kind != "train"
    }
    return {job.id: SHARED for job in jobs if job.owner in both}


# ---- this moment -----------------------------------------------------------------------------------


@dataclass
class _Now:
    """Workers, running jobs and lines as they are while one answer is made; each is read once, when needed."""

    session: Session
    lanes: dict[str, list[_Other]] = field(default_factory=dict)

    @cached_property
    def at(self) -> float:
        return clock(self.session)

    @cached_property
    def workers(self) -> list[Worker]:
        live = catalog.live_workers(self.session)
        return [worker for worker in live if worker.kind == "device" and worker.state == "ready"]

    @cached_property
    def running(self) -> Sequence[Any]:
        return self.session.execute(RUNNING).all()

    def line(self, lane: str) -> dict[str, Any]:
        """What the statements below ask about. While no worker lives at all, everybody waits for one."""
        offered = sorted({pair for worker in self.workers for pair in worker.families.items()})
        return {"lane": lane, "offered": offered, "anything": not offered}

    def before(self, job: Job | NewJob, rank: float, job_id: str) -> _Line:
        """What of its owner's goes before a job with this rank and id: all but what does not, since most who ask have
        just submitted it."""
        lines = [o.line for o in self.others(job.lane) if o.user_id == job.user_id]
        if not lines:
            return _Line()
        place = {"user_id": job.user_id, "rank": rank, "id": job_id}
        later = _line(self.session.execute(LATER, {**self.line(job.lane), **place}).one())
        return lines[0] - later

    def others(self, lane: str) -> list[_Other]:
        if lane not in self.lanes:
            rows = self.session.execute(BY_USER, self.line(lane))
            self.lanes[lane] = [
                _Other(row.user_id, _line(row), row.vtime, row.weight) for row in rows
            ]
        return self.lanes[lane]

    def place(self, asks: _Asks) -> Place:
        ahead = self._ahead(asks)
        position = ahead.jobs + 1
        for lane in BEFORE.get(asks.lane, ()):
            ahead = sum((other.line for other in self.others(lane)), ahead)
        name, version = asks.family
        able = [worker for worker in self.workers if worker.families.get(name) == version]
        if not able:
            return Place(position, None, "no_worker")
        wait = (self._training_in if asks.kind == "train" else self._generation_in)(
            asks, ahead, [worker.id for worker in able]
        )
        if wait is None:
            return Place(position, None, "unknown")
        return Place(position, self.at + wait, "device_busy" if wait else "starting")

    def _ahead(self, asks: _Asks) -> _Line:
        """In its lane. A user's turn comes at his virtual time: until then others are served theirs."""
        share = self.session.get(UserShare, asks.user_id)
        others = [o for o in self.others(asks.lane) if o.user_id != asks.user_id]
        vtime, weight = (share.vtime, share.weight) if share else (0.0, 1.0)
        if not any(o.user_id == asks.user_id for o in self.others(asks.lane)):
            vtime = max(vtime, self._floor)
        turn = vtime + asks.own.seconds / weight
        return sum((other.before(turn, asks.user_id) for other in others), asks.own)

    @cached_property
    def _floor(self) -> float:
        return self.session.scalar(FLOOR) or 0.0

    def _training_in(self, asks: _Asks, ahead: _Line, able: list[str]) -> float | None:
        """A device trains one at a time: those ahead go to whichever is free first."""
        generating = {row.owner for row in self.running if row.kind != "train"}
        free = dict.fromkeys(able, 0.0)
        for row in self.running:
            if row.owner in free and row.kind == "train":
                left = left_seconds(row, self.at, SHARED if row.owner in generating else 1.0)
                free[row.owner] = math.inf if left is None else left
        idle = sum(not left for left in free.values())
        if ahead.jobs < idle:
            return 0.0
        if ahead.unknown or math.inf in free.values():
            return None
        times = sorted(free.values())
        parts = min(ahead.jobs, LONGEST_ROW)
        for _ in range(parts):
            heapq.heapreplace(times, times[0] + ahead.seconds / parts)
        return times[0]

    def _generation_in(self, asks: _Asks, ahead: _Line, able: list[str]) -> float | None:
        """Devices take many at a time; when they are full, as many must end first as are too many."""
        here = [row for row in self.running if row.owner in able]
        lefts = [left_seconds(row, self.at) for row in here if row.kind != "train"]
        room = len(able) * max(1, SLOTS // max(1, asks.items))
        first = ahead.jobs + len(lefts)
        if first < room:
            return 0.0
        if ahead.unknown or None in lefts:
            return None
        seconds = ahead.seconds + sum(left or 0.0 for left in lefts)
        training = len({row.owner for row in here if row.kind == "train"}) / len(able)
        seconds *= 1 + training * (SHARED - 1)
        return seconds / len(able) * (first - room + 1) / first


@dataclass(frozen=True)
class _Other:
    """What a user has in a lane, and his place among the users."""

    user_id: str
    line: _Line
    vtime: float
    weight: float

    def before(self, turn: float, user_id: str) -> _Line:
        """What of it is started before somebody's turn comes, as if his jobs were alike."""
        mean = max(1e-3, self.line.seconds / self.line.jobs) / self.weight
        turns = (turn - self.vtime) / mean
        at_once = abs(turns - round(turns)) < 1e-6  # then the names decide
        jobs = math.floor(turns + 1e-6) + (self.user_id < user_id or not at_once)
        jobs = max(0, min(self.line.jobs, jobs))
        part = jobs / self.line.jobs
        return _Line(jobs, part * self.line.seconds, math.ceil(part * self.line.unknown))


# ---- lines ---------------------------------------------------------------------------------------------


def _line(row: Any) -> _Line:
    return _Line(row.jobs, row.seconds, row.unknown)


def _own_lines(now: _Now, jobs: list[Job]) -> dict[str, _Line]:
    """For each of one user's jobs, what of his own goes before it."""
    if len(jobs) == 1:
        return {job.id: now.before(job, job.rank, job.id) for job in jobs}
    found: dict[str, _Line] = {}
    for lane in sorted({job.lane for job in jobs}):
        ids = [job.id for job in jobs if job.lane == lane]
        these = {**now.line(lane), "user_id": jobs[0].user_id, "ids": ids}
        for row in now.session.execute(EARLIER, these):
            itself = _Line()
            if row.counts:
                seconds = PREPAID_SECONDS if row.mine is None else row.mine
                itself = _Line(1, seconds, int(row.mine is None))
            found[row.id] = _line(row) - itself
    return found


def _asks(job: Job | NewJob, own: _Line) -> _Asks:
    items = job.params.get("count", 1) if isinstance(job.params, dict) else 1
    return _Asks(
        user_id=job.user_id,
        lane=job.lane,
        kind=job.kind,
        family=(job.family, job.family_version),
        items=items if isinstance(items, int) else 1,
        own=own,
    )


def _unfinished(session: Session, jobs: Sequence[Job | NewJob]) -> set[str]:
    """Those of the jobs that these wait for that have not succeeded."""
    parents = {job.waits_for for job in jobs if job.waits_for}
    if not parents:
        return set()
    rows = session.scalars(select(Job.id).where(Job.id.in_(parents), Job.state != "succeeded"))
    return set(rows)
