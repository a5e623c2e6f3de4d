"""Jobs whose JSON cannot be read (a damaged database): they fail, so that the claim can go on."""

from __future__ import annotations

import json
import logging

from sqlalchemy import String, cast, select, type_coerce, update
from sqlalchemy.orm import Session

from shared import jobs
from shared.db import lock_rows
from shared.job_records import Lease
from shared.models import Job
from shared.scheduling import Offer

log = logging.getLogger(__name__)

LOOKED_AT = 10_000
MESSAGE = "Its parameters in the database cannot be read."


def fail_broken(session: Session, offer: Offer) -> int:
    """Fails every queued job with unreadable parameters; returns how many."""
    if lock_rows(session):
        return 0  # PostgreSQL checks JSON when it is written
    columns = [Job.params, Job.inputs]
    rows = session.execute(
        select(Job.id, Job.fence, *(cast(type_coerce(c, String), String) for c in columns))
        .where(Job.state == "queued")
        .limit(LOOKED_AT)
    ).all()
    broken = [(row[0], row[1]) for row in rows if not all(map(_is_object, row[2:]))]
    for job_id, fence in broken:
        log.error("job %s: %s", job_id, MESSAGE)
        session.execute(
            update(Job)
            .where(Job.id == job_id, Job.fence == fence)
            .values(params={}, inputs={})
            .execution_options(synchronize_session=False)
        )
        job = jobs.start(session, Lease(job_id, fence), offer.worker_id, offer.lease_seconds)
        if job is not None:
            jobs.fail(session, Lease(job.id, job.fence), "bad_row", MESSAGE)
    return len(broken)


def _is_object(text: str | None) -> bool:
    try:
        return isinstance(json.loads(text or ""), dict)
    except ValueError:
        return False
