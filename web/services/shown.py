"""Jobs with all that the API shows beside the row: result, artifacts, place in the queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, bindparam, select
from sqlalchemy.orm import Session

from shared import quotas, waiting
from shared.config import Settings
from shared.db import clock
from shared.job_records import NewJob
from shared.models import Artifact, Job, Result
from web.services.shapes import job_shape, queue_shape


def job(session: Session, row: Job, settings: Settings) -> dict[str, Any]:
    return jobs(session, [row], settings)[0]


def queue_of_new(session: Session, new: NewJob, settings: Settings) -> dict[str, Any]:
    """Where a job will stand that is about to be accepted."""
    place = waiting.place_of_new(session, new)
    return queue_shape(place, quotas.waiting_words(session, settings, new.user_id))


def accepted(row: Job, queue: dict[str, Any]) -> dict[str, Any]:
    return job_shape(row, None, [], queue)


def jobs(session: Session, rows: Sequence[Job], settings: Settings) -> list[dict[str, Any]]:
    """Of one user's jobs."""
    ended = [row.id for row in rows if row.state == "succeeded"]
    results: dict[str, Result] = {}
    artifacts: dict[str, list[Artifact]] = defaultdict(list)
    if ended:
        for result in session.scalars(RESULTS, {"job_ids": ended}):
            results[result.job_id] = result
        for artifact in outputs(session, ended):
            artifacts[artifact.job_id].append(artifact)
    places = waiting.places(session, rows)
    held = _waiting(session, rows, settings)
    running = [row for row in rows if row.state == "running"]
    at = clock(session) if running else 0.0
    sharing = waiting.sharing(session, running)
    shapes = []
    for row in rows:
        left = waiting.left_seconds(row, at, sharing.get(row.id, 1.0)) if row in running else None
        words = held if row.state == "queued" else None
        queue = queue_shape(places.get(row.id, waiting.Place()), words)
        shapes.append(job_shape(row, results.get(row.id), artifacts[row.id], queue, left))
    return shapes


def _waiting(session: Session, rows: Sequence[Job], settings: Settings) -> str | None:
    """What keeps all queued jobs of this user from starting, in words."""
    queued = next((row for row in rows if row.state == "queued"), None)
    return quotas.waiting_words(session, settings, queued.user_id) if queued else None


def outputs(session: Session, job_ids: list[str]) -> Sequence[Artifact]:
    """By index, then what was asked for after them (a grid, a strip)."""
    return session.scalars(OUTPUTS, {"job_ids": job_ids}).all()


OF_JOBS: BindParameter[Any] = bindparam("job_ids", expanding=True)
RESULTS = select(Result).where(Result.job_id.in_(OF_JOBS))
OUTPUTS = (
    select(Artifact)
    .where(
        Artifact.job_id.in_(OF_JOBS),
        Artifact.deleted_at.is_(None),
        Artifact.role.in_(("output", "grid")),
    )
    .order_by(Artifact.role != "output", Artifact.index, Artifact.id)
)
