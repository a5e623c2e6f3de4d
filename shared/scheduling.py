"""Which job runs next: lanes, fair order between users, rank inside a user, and the claim itself.

Order, fit and fairness are decided here, in SQL, at the moment a worker has room; nothing is decided at submit time.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from shared import jobs, quotas, shares
from shared.db import clock, lock_rows
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
        can_run = claimable(at, offer.families, lane)
        turns = _turns(session, can_run, offer.max_running_jobs)
        while turns and len(claimed) < offer.limit:
            # the user who has had least goes first; the claim charges him, so the next turn may be another's
            vtime, user_id, weight, cap = turns[0]
            job = None
            if cap is None or quotas.hold_place(session, user_id, cap):
                job = _claim_head(session, offer, user_id, can_run)
            if job is None:
                heapq.heappop(turns)
                continue
            claimed.append(job)
            vtime += shares.prepaid(job.estimate_seconds) / weight
            heapq.heapreplace(turns, (vtime, user_id, weight, cap))
    return claimed


Turn = tuple[float, str, float, int | None]


def _turns(session: Session, can_run: ColumnElement[bool], max_running: int) -> list[Turn]:
    """A heap of (vtime, user id, weight, most running jobs) of the users who have a job that can run."""
    has_one = select(Job.id).where(Job.user_id == UserShare.user_id, can_run).exists()
    cap = quotas.running_cap(UserShare.user_id, max_running)
    rows = session.execute(
        select(UserShare.vtime, UserShare.user_id, UserShare.weight, cap.label("cap"))
        .where(_may_start(max_running), has_one)
        .order_by(UserShare.vtime, UserShare.user_id)
    )
    # sorted, so it is a heap
    return [(row.vtime, row.user_id, row.weight, row.cap) for row in rows]


def _may_start(max_running: int) -> ColumnElement[bool]:
    """Users of whom one more job may run: who are not deactivated, and have not as many as they may."""
    active = select(User.id).where(User.id == UserShare.user_id, User.active).exists()
    return and_(active, quotas.has_place(UserShare.user_id, max_running))


def _claim_head(
    session: Session, offer: Offer, user_id: str, can_run: ColumnElement[bool]
) -> Job | None:
    """Starts the first job of this user; None when there is none left for us."""
    head = (
        select(Job.id, Job.fence)
        .where(Job.user_id == user_id, can_run)
        .order_by(Job.rank, Job.id)
        .limit(1)
    )
    if lock_rows(session):
        head = head.with_for_update(skip_locked=True, of=Job)
    found = session.execute(head).one_or_none()
    if found is None:
        return None
    return jobs.start(session, Lease(found.id, found.fence), offer.worker_id, offer.lease_seconds)


def has_work(
    session: Session, families: dict[str, int], lanes: tuple[str, ...], max_running: int = 0
) -> bool:
    """A cheap look (no write lock) whether a claim would find anything."""
    # first what costs nothing while nobody waits; then by users, since only so is the queue indexed
    if session.scalar(select(Job.id).where(Job.state == "queued").limit(1)) is None:
        return False
    at = clock(session)
    return any(_turns(session, claimable(at, families, lane), max_running) for lane in lanes)


def claimable(at: float, families: dict[str, int], lane: str) -> ColumnElement[bool]:
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
