"""Jobs with all that the API shows beside the row: result, artifacts, place in the queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared import catalog, scheduling
from shared.db import clock
from shared.models import Artifact, Job, Result
from web.services.shapes import job_shape, rfc3339

RECENT_JOBS = 20
FEWEST_RECENT_JOBS = 3


def job(session: Session, row: Job) -> dict[str, Any]:
    return jobs(session, [row])[0]


def jobs(session: Session, rows: Sequence[Job]) -> list[dict[str, Any]]:
    ended = [row.id for row in rows if row.state == "succeeded"]
    results: dict[str, Result] = {}
    artifacts: dict[str, list[Artifact]] = defaultdict(list)
    if ended:
        for result in session.scalars(select(Result).where(Result.job_id.in_(ended))):
            results[result.job_id] = result
        for artifact in outputs(session, ended):
            artifacts[artifact.job_id].append(artifact)
    places = scheduling.queue_positions(session, rows)
    lanes: dict[str, float | None] = {}
    shapes = []
    for row in rows:
        queue = _queue(session, row, places.get(row.id), lanes)
        shapes.append(job_shape(row, results.get(row.id), artifacts[row.id], queue))
    return shapes


def outputs(session: Session, job_ids: list[str]) -> Sequence[Artifact]:
    """By index, then what was asked for after them (a grid, a strip)."""
    last = (Artifact.role != "output").label("last")
    return session.scalars(
        select(Artifact)
        .where(
            Artifact.job_id.in_(job_ids),
            Artifact.deleted_at.is_(None),
            Artifact.role != "preview",
        )
        .order_by(last, Artifact.index, Artifact.id)
    ).all()


def _queue(
    session: Session, row: Job, position: int | None, lanes: dict[str, float | None]
) -> dict[str, Any]:
    """`lanes` remembers the pace of each lane for the length of one answer."""
    start = None
    if position and not row.paused_at and not row.waits_for:
        if row.lane not in lanes:
            lanes[row.lane] = _pace(session, row.lane)
        pace = lanes[row.lane]
        if pace is not None:
            start = max(clock(session) + pace * position, row.not_before or 0.0)
    return {"position": position, "estimated_start_at": rfc3339(start)}


def _pace(session: Session, lane: str) -> float | None:
    """Seconds between two starts, by how long the last jobs of this lane took; None while too few have run."""
    workers = sum(worker.kind == "device" for worker in catalog.live_workers(session))
    recent = (
        select((Job.finished_at - Job.started_at).label("took"))
        .where(Job.lane == lane, Job.state == "succeeded")
        .order_by(Job.finished_at.desc())
        .limit(RECENT_JOBS)
        .subquery()
    )
    count, took = session.execute(select(func.count(), func.avg(recent.c.took))).one()
    if not workers or count < FEWEST_RECENT_JOBS:
        return None
    return float(took) / workers
