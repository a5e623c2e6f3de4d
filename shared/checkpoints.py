"""Which checkpoints of a training are kept, and which one a later training begins with."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, select
from sqlalchemy.orm import Session, aliased

from shared.db import lock_rows
from shared.models import Checkpoint, Job
from shared.outputs import newest_checkpoints


def best(rows: Sequence[Checkpoint]) -> Checkpoint | None:
    """The first one that has the best score, so the nearest after it; None where nothing was measured."""
    scored = [row for row in rows if row.score is not None]
    return min(scored, key=lambda row: (row.score, row.step, -row.fence), default=None)


def is_final() -> ColumnElement[bool]:
    """The state at the end of a training that succeeded, and is not deleted (of Checkpoint joined with Job)."""
    ended = and_(Job.state == "succeeded", Job.deleted_at.is_(None))
    return and_(ended, Checkpoint.step == Job.progress_step)


def hold(session: Session, job_id: str, step: int) -> bool:
    """Until this transaction ends nobody removes that checkpoint; False when it is gone already."""
    query = select(Checkpoint.id).where(Checkpoint.job_id == job_id, Checkpoint.step == step)
    if lock_rows(session):
        query = query.with_for_update(read=True)
    return bool(session.scalars(query).all())


def prune(session: Session, job_id: str, keep: int) -> list[str]:
    """Forgets all but the newest ones, the best, and those in use; returns where their files lie."""
    rows = newest_checkpoints(session, job_id)
    first = best(rows)
    return forget(session, [row for row in rows[keep:] if row is not first])


def forget(session: Session, rows: Sequence[Checkpoint]) -> list[str]:
    """Removes the rows that no waiting or running training begins with; returns where their files lie."""
    if not rows:
        return []
    ids = [row.id for row in rows]
    if lock_rows(session):
        # waits for who accepts a training that begins with one of them, and then sees it
        session.execute(select(Checkpoint.id).where(Checkpoint.id.in_(ids)).with_for_update())
    unused = (
        select(Checkpoint.id, Checkpoint.location)
        .where(Checkpoint.id.in_(ids), ~in_use())
        .order_by(Checkpoint.id)
    )
    found = session.execute(unused).all()
    session.execute(
        delete(Checkpoint)
        .where(Checkpoint.id.in_([row.id for row in found]))
        .execution_options(synchronize_session="fetch")
    )
    return [row.location for row in found]


def in_use() -> ColumnElement[bool]:
    """A checkpoint that a job which has not ended begins with."""
    user = aliased(Job)
    return exists().where(
        user.continues == Checkpoint.job_id,
        user.continues_step == Checkpoint.step,
        user.state.in_(("queued", "running")),
    )
