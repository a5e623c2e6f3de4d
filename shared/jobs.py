"""The states of a job, and the one place that changes them (the table in DESIGN.md).

Every function takes a session of `Database.writing()`. Every write about a running job is guarded by
(id, fence, state); its event is written in the same transaction with n = the job's new version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from shared import estimates, outputs, quotas, shares
from shared.db import clock, lock_rows
from shared.errors import AlreadyEnded, Conflict, LeaseLost
from shared.ids import new_id
from shared.job_changes import (
    Event,
    change,
    end,
    fresh,
    held,
    held_row,
    quietly,
    requeue,
    set_back,
    still_held,
)
from shared.job_records import Flags, Lease, NewJob, Outcome, Report
from shared.models import FamilyRow, Job, JobEvent, User
from shared.outputs import newest_checkpoints

__all__ = [
    "FINAL",
    "STATES",
    "Flags",
    "Lease",
    "NewJob",
    "Outcome",
    "Report",
    "accept",
    "add_checkpoint",
    "fail",
    "finish_cancel",
    "give_back",
    "heartbeat",
    "newest_checkpoints",
    "pause",
    "reap",
    "report",
    "request_cancel",
    "resume",
    "start",
    "strike",
    "succeed",
]

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
FINAL = frozenset({"succeeded", "failed", "cancelled"})

LEVEL_SECONDS = 600.0  # waiting time that one level of priority is worth
REAPED_AT_ONCE = 200


# ---- submitting -------------------------------------------------------------------------------


def accept(session: Session, new: NewJob) -> Job:
    """Makes the row of a job, queued. Raises QuotaExceeded."""
    quotas.check_submit(session, new)
    shares.catch_up(session, new.user_id)
    at = clock(session)
    job = Job(
        id=new_id(),
        **{
            name: getattr(new, name)
            for name in new.__dataclass_fields__
            if name != "deadline_seconds" and not name.startswith("max_")
        },
        state="queued",
        version=1,
        fence=0,
        rank=at - LEVEL_SECONDS * new.priority,
        deadline_at=at + new.deadline_seconds if new.deadline_seconds else None,
        created_at=at,
    )
    session.add(job)
    session.flush()
    session.add(JobEvent(job_id=job.id, n=1, type="state", at=at, data={"state": "queued"}))
    session.flush()
    return job


def request_cancel(session: Session, job_id: str) -> Job:
    """Cancels a queued job at once, flags a running one. Raises AlreadyEnded when it ended otherwise."""
    for _ in range(5):
        job = fresh(session, job_id)
        if job.state == "cancelled" or (job.state == "running" and job.cancel_requested_at):
            return job
        if job.state in FINAL:
            raise AlreadyEnded(f"The job has {job.state} already.", job_id=job.id)
        at = clock(session)
        if job.state == "queued":
            moved = end(session, Lease(job.id, job.fence), "cancelled", at, source="queued")
        else:
            moved = change(
                session,
                Lease(job.id, job.fence),
                {"cancel_requested_at": at},
                [("state", {"state": "running", "cancel_requested": True})],
            )
        if moved:
            return moved
    raise Conflict("The job is changing right now; try again.")


def pause(session: Session, job_id: str) -> Job:
    """A paused job is not claimable; a running one is drained to queued first."""
    return _set_pause(session, job_id, pausing=True)


def resume(session: Session, job_id: str) -> Job:
    return _set_pause(session, job_id, pausing=False)


def _set_pause(session: Session, job_id: str, *, pausing: bool) -> Job:
    for _ in range(5):
        job = fresh(session, job_id)
        if job.state in FINAL:
            raise AlreadyEnded(f"The job has {job.state} already.", job_id=job.id)
        if bool(job.paused_at) == pausing:
            return job
        moved = change(
            session,
            Lease(job.id, job.fence),
            {"paused_at": clock(session) if pausing else None},
            [("state", {"state": job.state, "paused": pausing})],
            source=job.state,
        )
        if moved:
            return moved
    raise Conflict("The job is changing right now; try again.")


# ---- by the worker that holds the job ------------------------------------------------------------


def start(session: Session, lease: Lease, worker_id: str, lease_seconds: float) -> Job | None:
    """queued -> running; None when someone else was quicker. Called by scheduling.claim alone."""
    at = clock(session)
    job = change(
        session,
        lease,
        {
            "state": "running",
            "fence": Job.fence + 1,
            "attempt": Job.attempt + 1,
            "owner": worker_id,
            "lease_until": at + lease_seconds,
            "not_before": None,
            "started_at": func.coalesce(Job.started_at, at),
        },
        [("state", {"state": "running"})],
        Job.paused_at.is_(None),
        Job.cancel_requested_at.is_(None),
        source="queued",
        at=at,
    )
    if job and job.kind == "generate" and job.waits_for and not job.model_id:
        outputs.take_model_of_parent(session, job)
    if job:
        prepaid = shares.prepaid(job.estimate_seconds)
        job.charged_seconds += prepaid
        shares.charge(session, job.user_id, prepaid)
    return job


def heartbeat(
    session: Session, worker_id: str, uses: dict[Lease, float], lease_seconds: float
) -> dict[Lease, Flags | None]:
    """Renews leases and charges the device-seconds used since the last call; None where a lease is lost."""
    at = clock(session)
    answers: dict[Lease, Flags | None] = {}
    for lease, seconds in sorted(uses.items()):
        row = session.execute(
            update(Job)
            .where(*held(lease), Job.owner == worker_id)
            .values(lease_until=at + lease_seconds, device_seconds=Job.device_seconds + seconds)
            .returning(
                Job.user_id,
                Job.cancel_requested_at,
                Job.paused_at,
                Job.deadline_at,
                Job.device_seconds,
                Job.charged_seconds,
            )
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if row is None:
            answers[lease] = None
            continue
        owed = max(0.0, row.device_seconds - row.charged_seconds)
        if owed:
            quietly(session, lease.job_id, charged_seconds=row.device_seconds)
        shares.charge(session, row.user_id, owed, seconds)
        deadline = row.deadline_at is not None and row.deadline_at < at
        answers[lease] = Flags(bool(row.cancel_requested_at), bool(row.paused_at), deadline)
    return answers


def report(session: Session, lease: Lease, news: Report, *, most_log_bytes: int = 1 << 20) -> bool:
    """Progress, metrics, log and previews of a running job; False when the lease is lost."""
    values: dict[str, Any] = {}
    events: list[Event] = []
    news = replace(news, log=outputs.fitting_log(session, lease, news.log, most_log_bytes))
    if news.step is not None:
        values = {"progress_step": news.step}
        if news.total is not None:
            values["progress_total"] = news.total
        events.append(("progress", {"step": news.step, "total": news.total}))
    if news.points:
        events.append(("metrics", {"points": news.points}))
    if news.log:
        values["log_bytes"] = Job.log_bytes + len(news.log.encode())
        events.append(("log", {"text": news.log}))
    previews = [(step, outputs.artifact_row(new, lease)) for step, new in news.previews]
    events += [("preview", outputs.preview_data(step, row)) for step, row in previews]
    events += news.events
    if not events:
        return still_held(session, lease)
    at = clock(session)
    job = change(session, lease, values, events, at=at)
    if job is None:
        return False
    outputs.record_report(session, job, news, [row for _, row in previews], at)
    return True


def add_checkpoint(session: Session, lease: Lease, *, step: int, size: int, **facts: Any) -> bool:
    """Records a checkpoint whose file lies in storage (`location`, `sha256`, `score`). Progress pays off strikes."""
    farther = Job.checkpoint_step < step
    job = change(
        session,
        lease,
        {
            "strikes": case((farther, 0), else_=Job.strikes),
            "losses": case((farther, 0), else_=Job.losses),
            "checkpoint_step": case((farther, step), else_=Job.checkpoint_step),
        },
        [("log", {"checkpoint": step, "text": f"Checkpoint at step {step}.\n"})],
    )
    if job is None:
        return False
    outputs.record_checkpoint(session, job, step=step, bytes=size, **facts)
    return True


def succeed(session: Session, lease: Lease, outcome: Outcome) -> Job:
    """running -> succeeded with everything the job made. Raises LeaseLost: then nothing may become visible."""
    at = clock(session)
    rows = outputs.artifact_rows(outcome.artifacts, lease, at)
    result = {
        "model_id": outcome.model.id if outcome.model else None,
        "artifacts": [row.id for row in rows if row.role in ("output", "grid")],
        "metrics": outcome.metrics,
    }
    farther = Job.progress_total > Job.progress_step
    job = end(
        session,
        lease,
        "succeeded",
        at,
        Job.cancel_requested_at.is_(None),
        used=outcome.seconds,
        before=[("result", result)],
        values={
            "progress_step": case((farther, Job.progress_total), else_=Job.progress_step),
            **estimates.lesson(outcome, at),
        },
    )
    if job is None:
        raise LeaseLost()
    outputs.record_outcome(session, job, lease, outcome, rows, at)
    return job


def fail(session: Session, lease: Lease, code: str, message: str, used: float = 0.0) -> bool:
    """running -> failed: the job's own fault, or its deadline."""
    values = {"error_code": code[:64], "error_message": message[:4000]}
    return end(session, lease, "failed", clock(session), used=used, values=values) is not None


def give_back(
    session: Session, lease: Lease, why: str, *, delay_seconds: float = 0.0, used: float = 0.0
) -> bool:
    """running -> queued without a strike (drain, pause, rotation, full disk); cancelled if that was asked."""
    job = held_row(session, lease)
    if job is None:
        return False
    if job.cancel_requested_at:
        return finish_cancel(session, lease, used)
    not_before = clock(session) + delay_seconds if delay_seconds else None
    return requeue(session, lease, why, used, {"not_before": not_before}) is not None


def strike(
    session: Session,
    lease: Lease,
    code: str,
    message: str,
    *,
    suspects_batch: bool = False,
    used: float = 0.0,
    backoff_seconds: float = 5.0,
) -> str:
    """A job whose runner died while stepping it: back to the queue with a wait, or failed at the third time.

    Suspects of a batch come back alone and without a strike. Returns the new state, "" when the lease was lost.
    """
    job = held_row(session, lease)
    if job is None:
        return ""
    if suspects_batch and not job.cancel_requested_at:
        moved = requeue(session, lease, code, used, {"no_batch": True})
        return moved.state if moved else ""
    return set_back(
        session, job, code, message, used=used, backoff_seconds=backoff_seconds, lost=False
    )


def finish_cancel(session: Session, lease: Lease, used: float = 0.0) -> bool:
    """running -> cancelled, once the runner has let go."""
    return end(session, lease, "cancelled", clock(session), used=used) is not None


# ---- by the reaper ----------------------------------------------------------------------------------


def reap(
    session: Session, *, version_gone_seconds: float = 86_400.0, backoff_seconds: float = 5.0
) -> int:
    """Ends or re-queues what nobody else will: expired leases, deadlines, orphans. Returns how many jobs changed."""
    at = clock(session)
    changed = 0
    expired = select(Job).where(Job.state == "running", Job.lease_until < at)
    for job in session.scalars(_unlocked(session, expired)).all():
        text = "The worker that ran it vanished."
        changed += bool(
            set_back(session, job, "worker_lost", text, backoff_seconds=backoff_seconds, lost=True)
        )
    gone = exists().where(User.id == Job.user_id, ~User.active)
    unwanted = select(Job).where(Job.state == "running", Job.cancel_requested_at.is_(None), gone)
    for job in session.scalars(_unlocked(session, unwanted)).all():
        request_cancel(session, job.id)  # claimed in the moment in which its owner was deactivated
        changed += 1
    for condition, code, message in _hopeless(at, version_gone_seconds):
        queued = select(Job).where(Job.state == "queued", condition)
        for job in session.scalars(_unlocked(session, queued)).all():
            values = {"error_code": code, "error_message": message}
            lease = Lease(job.id, job.fence)
            changed += bool(end(session, lease, "failed", at, values=values, source="queued"))
    return changed


def _unlocked(session: Session, query: Select[Job]) -> Select[Job]:
    """Rows that nobody is changing right now: the reaper never waits for a job."""
    query = query.limit(REAPED_AT_ONCE)
    return query.with_for_update(skip_locked=True) if lock_rows(session) else query


def _hopeless(at: float, gone: float) -> list[tuple[ColumnElement[bool], str, str]]:
    """Which queued jobs can never run any more, and the words for it."""
    parent = aliased(Job)
    lost_parent = exists().where(
        parent.id == Job.waits_for, parent.state.in_(("failed", "cancelled"))
    )
    offered = exists().where(
        FamilyRow.name == Job.family,
        FamilyRow.version == Job.family_version,
        FamilyRow.announced_at > at - gone,
    )
    return [
        (Job.deadline_at < at, "deadline", "Its deadline passed before it could run."),
        (
            and_(Job.waits_for.is_not(None), lost_parent),
            "parent_failed",
            "The job it waited for did not succeed.",
        ),
        (
            and_(Job.created_at < at - gone, ~offered),
            "version_gone",
            "No worker offers this version of the family any more.",
        ),
    ]
