"""What a job has said so far: events, previews, log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from shared import previews, quotas
from shared.db import clock
from shared.jobs import FINAL
from shared.models import Job, JobEvent, JobLog, User
from shared.moments import rfc3339
from web.services import access
from web.services.shapes import artifact_shape, event_shape
from web.services.studio import Studio

MOST_EVENTS = 1000
KEEP_ALIVE_SECONDS = 15.0
STREAM_SECONDS = 600.0


def job_events(
    studio: Studio,
    user: User,
    job_id: str,
    after: int = 0,
    limit: int = 200,
) -> dict[str, Any]:
    """Events with n > after, oldest first; `next` is the n to go on from while there are more."""
    limit = max(1, min(limit, MOST_EVENTS))
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        items = _events(session, job_id, after, limit + 1)
    more = len(items) > limit
    items = items[:limit]
    return {"items": items, "next": items[-1]["n"] if more else None}


def news(
    studio: Studio, user: User, job_id: str, after: int
) -> tuple[list[dict[str, Any]], int, bool]:
    """(events, the job's version, whether nothing can follow any more). Raises NotFound."""
    with studio.db.reading() as session:
        job = access.own(session, Job, job_id, user)
        items = _events(session, job_id, after, MOST_EVENTS)
        over = job.state in FINAL and len(items) < MOST_EVENTS
    return items, job.version, over


def latest_events(
    studio: Studio, user: User, job_id: str, types: tuple[str, ...], limit: int = MOST_EVENTS
) -> list[dict[str, Any]]:
    """The last events of these types, oldest first: a page has no use for the many numbers in between."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.type.in_(types))
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        rows = session.scalars(query.order_by(JobEvent.n.desc()).limit(limit)).all()
    return [event_shape(row) for row in reversed(rows)]


MOST_ENDED = 50
# An end bears the time that its transaction asked for, and transactions may be seen in another order: by then all are.
SETTLE_SECONDS = 2.0


def ended(studio: Studio, user: User, after: str | None) -> dict[str, Any]:
    """{"items": [{job_id, kind, family, name, state, at}], "next", "active"}: which of one's jobs have ended since.

    `next` is where to go on; without `after` nothing has been missed yet. `active` is how many still wait or run, or
    have ended so recently that the next look tells of them.
    """
    own = (Job.user_id == user.id, Job.deleted_at.is_(None))
    rows: Sequence[Job] = []
    with studio.db.reading() as session:
        active = quotas.active_jobs(session, user.id)
        settled = clock(session) - SETTLE_SECONDS
        at, job_id = _place(after) if after else (settled, "")
        later = or_(Job.finished_at > at, and_(Job.finished_at == at, Job.id > job_id))
        since = (*own, Job.finished_at >= at, later)
        if after:
            query = select(Job).where(*since, Job.finished_at < settled)
            query = query.order_by(Job.finished_at, Job.id).limit(MOST_ENDED)
            rows = session.scalars(query).all()
        recent = select(func.count()).where(*since, Job.finished_at >= settled)
        active += session.scalar(recent) or 0
    if len(rows) == MOST_ENDED:
        at, job_id = rows[-1].finished_at or at, rows[-1].id
    elif settled > at:
        at, job_id = settled, ""
    items = [
        {
            "job_id": row.id,
            "kind": row.kind,
            "family": row.family,
            "name": row.name,
            "state": row.state,
            "at": rfc3339(row.finished_at),
        }
        for row in rows
    ]
    return {"items": items, "next": f"{at!r}-{job_id}", "active": active}


def _place(after: str) -> tuple[float, str]:
    at, _, job_id = after.partition("-")
    return float(at), job_id


def _events(session: Session, job_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.n > after)
    rows = session.scalars(query.order_by(JobEvent.n).limit(limit))
    return [event_shape(row) for row in rows]


def job_previews(
    studio: Studio, user: User, job_id: str, most_rounds: int = previews.MOST_ROUNDS
) -> dict[str, Any]:
    """{"items": [{step, index, artifact}], "next": null}: what a training drew on its way, by step and index."""
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        rows = previews.of_job(session, job_id)
    steps = sorted({previews.step_of(row) for row in rows})
    gone = set(previews.crowded(steps, most_rounds))
    rows = [row for row in rows if previews.step_of(row) not in gone]
    items = [
        {"step": previews.step_of(row), "index": row.index, "artifact": artifact_shape(row)}
        for row in rows
    ]
    return {"items": items, "next": None}


def job_log(studio: Studio, user: User, job_id: str) -> str:
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        lines = session.scalars(
            select(JobLog.text).where(JobLog.job_id == job_id).order_by(JobLog.n)
        )
        return "".join(lines)
