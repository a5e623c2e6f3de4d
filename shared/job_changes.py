"""How the row of a job changes: the compare-and-swap on (id, fence, state), and what every end and every way back
to the queue have in common. Only shared/jobs.py calls this.
"""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from shared import shares, tallies, webhooks
from shared.db import clock
from shared.errors import NotFound
from shared.job_records import Lease
from shared.models import Job, JobEvent

Event = tuple[str, dict[str, Any]]

MOST_STRIKES = 3
MOST_LOSSES = 10
MOST_ATTEMPTS = 50
LONGEST_BACKOFF = 600.0
# Codes that say more than "poison" does, so the third strike keeps them.
TELLING_CODES = frozenset({"oom"})


def held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == lease.job_id, Job.fence == lease.fence, Job.state == "running")


def change(
    session: Session,
    lease: Lease,
    values: dict[str, Any],
    events: list[Event],
    *guard: ColumnElement[bool],
    source: str = "running",
    at: float | None = None,
) -> Job | None:
    """The compare-and-swap under everything here: changes the row if (id, fence, state) still hold and appends
    the events, which happened `at` (now); None, with nothing written, when they do not."""
    statement = (
        update(Job)
        .where(Job.id == lease.job_id, Job.fence == lease.fence, Job.state == source, *guard)
        .values(version=Job.version + len(events), **values)
        .returning(Job)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    job = session.scalars(statement).one_or_none()
    if job is None:
        return None
    at = clock(session) if at is None else at
    first = job.version - len(events) + 1
    for n, (kind, data) in enumerate(events, start=first):
        which = {"attempt": job.attempt, "fence": job.fence} if kind == "state" else {}
        session.add(JobEvent(job_id=job.id, n=n, type=kind, at=at, data={**data, **which}))
    session.flush()
    return job


def end(
    session: Session,
    lease: Lease,
    state: str,
    at: float,
    *guard: ColumnElement[bool],
    used: float = 0.0,
    values: dict[str, Any] | None = None,
    before: list[Event] | None = None,
    source: str = "running",
) -> Job | None:
    """To a final state: the fence moves on, the charge is settled, the outside is owed a notice."""
    values = values or {}
    data: dict[str, Any] = {"state": state}
    if "error_code" in values:
        data["error"] = {"code": values["error_code"], "message": values["error_message"]}
    job = change(
        session,
        lease,
        {
            "state": state,
            "fence": Job.fence + 1,
            "owner": None,
            "lease_until": None,
            "not_before": None,
            "finished_at": at,
            "device_seconds": Job.device_seconds + used,
            **values,
        },
        [*(before or []), ("state", data)],
        *guard,
        source=source,
        at=at,
    )
    if job:
        settle(session, job, used)
        if job.started_at is not None:
            waited = max(0.0, job.started_at - job.created_at)
            tallies.time(session, "job_wait_seconds", job.kind, waited)
            tallies.time(session, "job_run_seconds", job.kind, max(0.0, at - job.started_at))
        webhooks.owe(session, job, at)
    return job


def requeue(
    session: Session,
    lease: Lease,
    why: str,
    used: float,
    values: dict[str, Any],
    *guard: ColumnElement[bool],
) -> Job | None:
    job = change(
        session,
        lease,
        {
            "state": "queued",
            "fence": Job.fence + 1,
            "owner": None,
            "lease_until": None,
            "progress_step": Job.checkpoint_step,
            "device_seconds": Job.device_seconds + used,
            **values,
        },
        [("state", {"state": "queued", "why": why})],
        *guard,
    )
    if job:
        settle(session, job, used)
    return job


def settle(session: Session, job: Job, used: float) -> None:
    """What was prepaid and not used goes back to its owner."""
    difference = job.device_seconds - job.charged_seconds
    job.charged_seconds = job.device_seconds
    shares.charge(session, job.user_id, difference, used)


def quietly(session: Session, job_id: str, **values: Any) -> None:
    session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def fresh(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound()
    return job


def held_row(session: Session, lease: Lease) -> Job | None:
    return session.scalars(
        select(Job).where(*held(lease)).execution_options(populate_existing=True)
    ).one_or_none()


def still_held(session: Session, lease: Lease) -> bool:
    return session.scalar(select(Job.id).where(*held(lease))) is not None


def set_back(
    session: Session,
    job: Job,
    code: str,
    message: str,
    *,
    lost: bool,
    backoff_seconds: float,
    used: float = 0.0,
) -> str:
    """One more strike (or loss): cancelled if that was asked, failed if it was the last, else queued with a wait."""
    at = clock(session)
    lease = Lease(job.id, job.fence)
    guard = [Job.lease_until < at] if lost else []
    strikes, losses = job.strikes + (not lost), job.losses + lost
    if job.cancel_requested_at:
        moved = end(session, lease, "cancelled", at, *guard, used=used)
    elif reason := _last_straw(job, at, strikes, losses, code):
        values = {
            "strikes": strikes,
            "losses": losses,
            "error_code": reason,
            "error_message": message[:4000],
        }
        moved = end(session, lease, "failed", at, *guard, used=used, values=values)
    else:
        wait = min(backoff_seconds * 2 ** (strikes + losses), LONGEST_BACKOFF)
        values = {
            "strikes": strikes,
            "losses": losses,
            # jitter keeps the victims of one crash from coming back in one moment
            "not_before": at + wait * random.uniform(0.5, 1.0),  # noqa: S311 - no secret
        }
        moved = requeue(session, lease, code, used, values, *guard)
    if moved:
        tallies.count(session, "leases_lost" if lost else "strikes")
    return moved.state if moved else ""


def _last_straw(job: Job, at: float, strikes: int, losses: int, code: str) -> str:
    if job.deadline_at is not None and job.deadline_at < at:
        return "deadline"
    if strikes >= MOST_STRIKES:
        return code if code in TELLING_CODES else "poison"
    if losses >= MOST_LOSSES:
        return "worker_lost"
    return "too_many_attempts" if job.attempt >= MOST_ATTEMPTS else ""
