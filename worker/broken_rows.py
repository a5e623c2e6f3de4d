"""Jobs whose JSON cannot be read (a damaged database): they fail, so that claims and the reaper go on."""

from __future__ import annotations

import json
import logging

from sqlalchemy import String, cast, select, type_coerce, update
from sqlalchemy.orm import Session

from shared import jobs
from shared.db import lock_rows
from shared.job_records import Lease
from shared.models import Job

log = logging.getLogger(__name__)

LOOKED_AT = 10_000
MESSAGE = "Its parameters in the database cannot be read."


def fail_broken(session: Session, worker_id: str) -> int:
    """Fails every job that has not ended and has unreadable parameters; returns how many."""
    if lock_rows(session):
        return 0  # PostgreSQL checks JSON when it is written
    texts = [cast(type_coerce(column, String), String) for column in (Job.params, Job.inputs)]
    rows = session.execute(
        select(Job.id, Job.fence, Job.state, *texts)
        .where(Job.state.in_(("queued", "running")))
        .limit(LOOKED_AT)
    ).all()
    broken = [row for row in rows if not all(map(_is_object, row[3:]))]
    for job_id, fence, state, *_ in broken:
        log.error("job %s: %s", job_id, MESSAGE)
        session.execute(
            update(Job)
            .where(Job.id == job_id, Job.fence == fence)
            .values(params={}, inputs={})
            .execution_options(synchronize_session=False)
        )
        lease = Lease(job_id, fence)
        if state == "queued" and (job := jobs.start(session, lease, worker_id, 1.0)):
            lease = Lease(job.id, job.fence)
        jobs.fail(session, lease, "bad_row", MESSAGE)
    return len(broken)


def _is_object(text: str | None) -> bool:
    try:
        return isinstance(json.loads(text or ""), dict)
    except ValueError:
        return False
