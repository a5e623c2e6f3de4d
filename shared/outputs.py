"""The rows that a job's reports and results leave behind; called by shared/jobs.py after its guard has held."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import catalog, estimates
from shared.db import clock
from shared.ids import new_id
from shared.job_records import Lease, NewArtifact, NewModel, Outcome, Report
from shared.models import (
    Artifact,
    Checkpoint,
    FamilyRow,
    Job,
    JobLog,
    MetricPoint,
    Model,
    Result,
)
from shared.params import price, refitted
from shared.previews import thin_out

LONGEST_SECONDS = 1e12  # more than any installation allows
LOG_IS_FULL = "\n[The log is full.]\n"


def artifact_row(new: NewArtifact, lease: Lease, at: float = 0.0) -> Artifact:
    """The row of a stored file; its owner and time are filled in when it is recorded."""
    return Artifact(
        id=new_id(),
        job_id=lease.job_id,
        created_at=at,
        **{name: getattr(new, name) for name in new.__dataclass_fields__},
    )


def artifact_rows(new: list[NewArtifact], lease: Lease, at: float) -> list[Artifact]:
    """Their ids fall, so that lists by id, newest first, show what one job made from first to last."""
    rows = [artifact_row(one, lease, at) for one in new]
    falling = sorted((row.id for row in rows), reverse=True)
    for row, row_id in zip(rows, falling, strict=True):
        row.id = row_id
    return rows


def preview_data(step: int, row: Artifact) -> dict[str, Any]:
    return {
        "artifact_id": row.id,
        "step": step,
        "index": row.index,
        "media_type": row.media_type,
    }


def fitting_log(session: Session, lease: Lease, text: str, most_bytes: int) -> str:
    """What of this still fits into the job's log; the last that does says so, and then there is no more."""
    used = session.scalar(select(Job.log_bytes).where(Job.id == lease.job_id)) if text else None
    if used is None or used >= most_bytes:
        return ""
    data, room = text.encode(), most_bytes - used
    return text if len(data) <= room else data[:room].decode(errors="ignore") + LOG_IS_FULL


def record_report(
    session: Session, job: Job, news: Report, previews: list[Artifact], at: float
) -> None:
    if news.points:
        session.add(
            MetricPoint(
                job_id=job.id,
                n=job.version,
                first_step=int(news.points[0][0]),
                last_step=int(news.points[-1][0]),
                points=news.points,
                at=at,
            )
        )
    if news.log:
        session.add(JobLog(job_id=job.id, n=job.version, at=at, text=news.log))
    if previews:
        _add_artifacts(session, job, previews, at)
        thin_out(session, job.id, at)


def record_checkpoint(session: Session, job: Job, **facts: Any) -> None:
    """`facts` are the row's own: step, score, location, sha256, bytes."""
    at = clock(session)
    session.add(Checkpoint(id=new_id(), job_id=job.id, fence=job.fence, created_at=at, **facts))
    session.flush()


def record_outcome(
    session: Session, job: Job, lease: Lease, outcome: Outcome, rows: list[Artifact], at: float
) -> None:
    session.add(
        Result(
            job_id=job.id,
            fence=lease.fence,
            model_id=outcome.model.id if outcome.model else None,
            metrics=outcome.metrics,
            build=outcome.build,
            created_at=at,
        )
    )
    _add_artifacts(session, job, rows, at)
    if outcome.model:
        session.add(_model_row(job, outcome.model, at))
    session.flush()


def take_model_of_parent(session: Session, job: Job) -> None:
    """A generation that waited for a training uses its model, and says so from its start on.

    Now that the model is known, so is what it takes: nobody could price it when it was accepted.
    """
    made = session.scalars(
        select(Model)
        .join(Result, Result.model_id == Model.id)
        .where(Result.job_id == job.waits_for)
    ).one_or_none()
    if made is None:
        return
    job.model_id, job.model_sha256 = made.id, made.sha256
    family = session.get(FamilyRow, (job.family, job.family_version))
    action = family.announcement.get("actions", {}).get(job.kind) if family else None
    if action is None:
        return
    job.params = refitted(job.params, action["schema"], made.generate_schema)
    prices = price(action.get("cost", {}), {**made.facts, **job.params})
    cost = estimates.cost_of(prices, job.kind, job.params)
    work = estimates.Work(job.family, job.family_version, job.kind, cost)
    seconds = estimates.estimate(session, work, catalog.live_workers(session)).seconds
    # no JSON has an infinite number
    job.cost = {name: part for name, part in cost.items() if part is None or math.isfinite(part)}
    job.estimate_seconds = None if seconds is None else min(seconds, LONGEST_SECONDS)


def newest_checkpoints(session: Session, job_id: str, step: int | None = None) -> list[Checkpoint]:
    """The checkpoints of a job (at this step), the farthest first; of equal steps the latest attempt's first."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id)
    if step is not None:
        query = query.where(Checkpoint.step == step)
    return list(session.scalars(query.order_by(Checkpoint.step.desc(), Checkpoint.fence.desc())))


def _add_artifacts(session: Session, job: Job, rows: list[Artifact], at: float) -> None:
    for row in rows:
        row.user_id, row.created_at = job.user_id, at
        row.deleted_at = job.deleted_at  # a preview may arrive after its job was deleted
        session.add(row)
    session.flush()


def _model_row(job: Job, new: NewModel, at: float) -> Model:
    return Model(
        user_id=job.user_id,
        job_id=job.id,
        dataset_id=job.dataset_id,
        name=job.name or f"{job.family} {job.id[-6:]}",
        family=job.family,
        family_version=job.family_version,
        created_at=at,
        **{name: getattr(new, name) for name in new.__dataclass_fields__},
    )
