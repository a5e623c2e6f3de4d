"""Which job runs next: lanes, fair order between users, rank inside a user, and the claim itself.

Order, fit and fairness are decided here, in SQL, at the moment a worker has room; nothing is decided at submit time.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import ColumnElement, Double, Executable, and_, bindparam, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from shared import jobs, quotas, shares
from shared.db import clock
from shared.job_records import Lease
from shared.models import Job, User, UserShare

LANES = ("interactive", "batch", "train", "cpu")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a worker can take right now."""

    worker_id: str
    lanes: tuple[str, ...]  # in the order of preference
    families: dict[str, int]  # name -> version
    limit: int
    lease_seconds: float
    max_running_jobs: int = 0  # of users whose quota says nothing; 0 is no limit


def claim(session: Session, offer: Offer) -> list[Job]:
    """Takes up to `limit` jobs, running and fenced, in fair order. Takes a session of writing()."""
    claimed: list[Job] = []
    at = clock(session)
    for lane in offer.lanes:
        questions = _questions(_sorted(offer.families), lane, offer.max_running_jobs)
        turns = _turns(session, questions, at)
        while turns and len(claimed) < offer.limit:
            # the user who has had least goes first; the claim charges him, so the next turn may be another's
            vtime, user_id, weight, cap = turns[0]
            job = None
            if cap is None or quotas.hold_place(session, user_id, cap):
                job = _claim_head(session, offer, user_id, questions, at)
            if job is None:
                heapq.heappop(turns)
                continue
            claimed.append(job)
            vtime += shares.prepaid(job.estimate_seconds) / weight
            heapq.heapreplace(turns, (vtime, user_id, weight, cap))
    return claimed


Turn = tuple[float, str, float, int | None]


@dataclass(frozen=True)
class _Questions:
    """What a claim asks of one lane, with the parameters `at` and `user_id`.

    Put together once: that takes ten times as long as the asking, and SQLite's one write lock would be held meanwhile.
    """

    turns: Executable
    head: Executable


@lru_cache(maxsize=256)
def _questions(families: tuple[tuple[str, int], ...], lane: str, max_running: int) -> _Questions:
    can_run = claimable(bindparam("at", type_=Double()), dict(families), lane)
    has_one = select(Job.id).where(Job.user_id == UserShare.user_id, can_run).exists()
    cap = quotas.running_cap(UserShare.user_id, max_running)
    turns = (
        select(UserShare.vtime, UserShare.user_id, UserShare.weight, cap.label("cap"))
        .where(_may_start(max_running), has_one)
        .order_by(UserShare.vtime, UserShare.user_id)
    )
    head = (
        select(Job.id, Job.fence)
        .where(Job.user_id == bindparam("user_id"), can_run)
        .order_by(Job.rank, Job.id)
        .limit(1)
        # SQLite has no such words, and leaves them out
        .with_for_update(skip_locked=True, of=Job)
    )
    return _Questions(turns, head)


def _sorted(families: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(families.items()))


def _turns(session: Session, questions: _Questions, at: float) -> list[Turn]:
    """A heap of (vtime, user id, weight, most running jobs) of the users who have a job that can run."""
    rows = session.execute(questions.turns, {"at": at})
    # sorted, so it is a heap
    return [(row.vtime, row.user_id, row.weight, row.cap) for row in rows]


def _may_start(max_running: int) -> ColumnElement[bool]:
    """Users of whom one more job may run: who are not deactivated, and have not as many as they may."""
    active = select(User.id).where(User.id == UserShare.user_id, User.active).exists()
    return and_(active, quotas.has_place(UserShare.user_id, max_running))


def _claim_head(
    session: Session, offer: Offer, user_id: str, questions: _Questions, at: float
) -> Job | None:
    """Starts the first job of this user; None when there is none left for us."""
    found = session.execute(questions.head, {"at": at, "user_id": user_id}).one_or_none()
    if found is None:
        return None
    return jobs.start(session, Lease(found.id, found.fence), offer.worker_id, offer.lease_seconds)


def lanes_with_work(
    session: Session, families: dict[str, int], lanes: tuple[str, ...], max_running: int = 0
) -> tuple[str, ...]:
    """A cheap look (no write lock) where a claim would find anything."""
    # first what costs nothing while nobody waits; then by users, since only so is the queue indexed
    if session.scalar(select(Job.id).where(Job.state == "queued").limit(1)) is None:
        return ()
    at, fitting = clock(session), _sorted(families)
    return tuple(
        lane for lane in lanes if _turns(session, _questions(fitting, lane, max_running), at)
    )


def claimable(at: ColumnElement[float], families: dict[str, int], lane: str) -> ColumnElement[bool]:
    parent = aliased(Job)
    parent_succeeded = (
        select(parent.id)
        .where(parent.id == Job.waits_for, parent.state == "succeeded")
        .correlate(Job)
        .exists()
    )
    return and_(
        Job.state == "queued",
        Job.lane == lane,
        tuple_(Job.family, Job.family_version).in_(list(families.items())),
        or_(Job.not_before.is_(None), Job.not_before <= at),
        or_(Job.deadline_at.is_(None), Job.deadline_at > at),
        Job.paused_at.is_(None),
        Job.cancel_requested_at.is_(None),
        or_(Job.waits_for.is_(None), parent_succeeded),
    )


def should_rotate(session: Session, job: Job, max_running: int = 0) -> bool:
    """Whether another user, who has had less, waits with a training for the device that this one holds."""
    mine = session.scalar(select(UserShare.vtime).where(UserShare.user_id == job.user_id))
    at = clock(session)
    waiting = (
        select(Job.id)
        .join(UserShare, UserShare.user_id == Job.user_id)
        .where(
            Job.state == "queued",
            Job.lane == job.lane,
            Job.user_id != job.user_id,
            or_(Job.not_before.is_(None), Job.not_before <= at),
            Job.paused_at.is_(None),
            Job.waits_for.is_(None),
            UserShare.vtime < (mine or 0.0),
            _may_start(max_running),
        )
        .limit(1)
    )
    return session.scalar(waiting) is not None
