"""Workers and everybody's jobs, for administrators: draining, and stopping what is in the way."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import catalog
from shared import jobs as states
from shared.db import clock
from shared.errors import NotFound
from shared.models import Job, User, Worker
from shared.moments import rfc3339
from web.services import audit
from web.services.studio import Studio

MOST_JOBS = 200

Shape = dict[str, Any]


def list_workers(studio: Studio) -> list[Shape]:
    """Those that live, by name."""
    with studio.db.reading() as session:
        found = sorted(catalog.live_workers(session), key=lambda worker: worker.id)
        return [_shape(worker) for worker in found]


def set_drain(studio: Studio, admin: User, worker_id: str, *, draining: bool) -> Shape:
    """A draining worker takes nothing new, writes checkpoints and gives its jobs back; it stays so over a restart
    until this is taken back. Raises NotFound."""
    with studio.db.writing() as session:
        worker = session.get(Worker, worker_id)
        if worker is None or worker.state == "gone":
            raise NotFound()
        if (worker.drain_requested_at is not None) != draining:
            worker.drain_requested_at = clock(session) if draining else None
            action = "worker_drained" if draining else "worker_undrained"
            audit.record(session, action, admin, worker)
        return _shape(worker)


def active_jobs(studio: Studio) -> Shape:
    """Queued and running jobs of everybody, those that run first; whose, but not what they are about."""
    query = (
        select(Job, User.name)
        .join(User, User.id == Job.user_id)
        .where(Job.state.in_(("queued", "running")))
        .order_by(Job.state.desc(), Job.rank, Job.id)
        .limit(MOST_JOBS + 1)
    )
    with studio.db.reading() as session:
        rows = session.execute(query).all()
    items = [_job_shape(job, name) for job, name in rows[:MOST_JOBS]]
    return {"items": items, "more": len(rows) > MOST_JOBS}


def cancel_any(studio: Studio, admin: User, job_id: str) -> None:
    """Raises NotFound, AlreadyEnded."""
    with studio.db.writing() as session:
        job = _job(session, job_id)
        before = (job.state, job.cancel_requested_at)
        job = states.request_cancel(session, job.id)
        if (job.state, job.cancel_requested_at) != before:
            audit.record(session, "job_cancelled", admin, job)
        lane = job.lane
    studio.wakeups.wake(lane)


def _job(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None or job.deleted_at is not None:
        raise NotFound()
    return job


def _job_shape(job: Job, owner: str) -> Shape:
    return {
        "id": job.id,
        "owner": owner,
        "kind": job.kind,
        "family": job.family,
        "lane": job.lane,
        "state": job.state,
        "paused": job.paused_at is not None,
        "cancel_requested": job.cancel_requested_at is not None,
        "worker": job.owner,
        "attempt": job.attempt,
        "device_seconds": job.device_seconds,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
    }


def _shape(worker: Worker) -> Shape:
    return {
        "id": worker.id,
        "kind": worker.kind,
        "host": worker.host,
        "pid": worker.pid,
        "device": worker.device,
        "facts": worker.facts,
        "families": sorted(worker.families),
        "state": worker.state,
        "drain_requested": worker.drain_requested_at is not None,
        "started_at": rfc3339(worker.started_at),
        "heartbeat_at": rfc3339(worker.heartbeat_at),
    }
