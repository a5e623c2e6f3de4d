"""What may go, and when: one rule for each kind of row. Used by the sweep, and by web while no worker is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, delete, exists, or_, select, tuple_
from sqlalchemy.orm import Session

from shared import checkpoints
from shared.config import Settings
from shared.db import clock
from shared.jobs import FINAL
from shared.models import (
    BrowserSession,
    Checkpoint,
    IdempotencyKey,
    Job,
    JobEvent,
    Model,
    OutboxMessage,
    ShortTask,
    Sweep,
    Worker,
)

# The events that say little when a job is long over; its curve lives on in metric_point, its log in job_log.
CHATTER = ("progress", "metrics", "preview", "log")


def forget_old_rows(session: Session, settings: Settings) -> dict[str, int]:
    """Deletes the rows whose time is over; returns how many of each class."""
    at = clock(session)
    anonymous = BrowserSession.user_id.is_(None) & (BrowserSession.expires_at < at)
    rules: dict[str, tuple[type[Any], ColumnElement[bool]]] = {
        "idempotency keys": (
            IdempotencyKey,
            IdempotencyKey.created_at < at - settings.keep_keys_seconds,
        ),
        "short tasks": (
            ShortTask,
            ShortTask.state.in_(("done", "failed"))
            & (ShortTask.finished_at < at - settings.keep_tasks_seconds),
        ),
        "sessions": (
            BrowserSession,
            (BrowserSession.expires_at < at - settings.keep_sessions_seconds) | anonymous,
        ),
        "messages": (OutboxMessage, OutboxMessage.created_at < at - settings.keep_messages_seconds),
        "sweeps": (Sweep, Sweep.started_at < at - settings.keep_sweeps_seconds),
        "workers": (Worker, Worker.heartbeat_at < at - settings.keep_workers_seconds),
    }
    return {
        name: int(session.execute(delete(table).where(old)).rowcount)  # type: ignore[attr-defined]
        for name, (table, old) in rules.items()
    }


def forget_old_events(session: Session, settings: Settings, most: int) -> int:
    """The chatter of jobs that ended long ago; states and results stay. Returns how many rows went."""
    old = (
        select(JobEvent.job_id, JobEvent.n)
        .join(Job, Job.id == JobEvent.job_id)
        .where(
            Job.state.in_(FINAL),
            Job.finished_at < clock(session) - settings.keep_events_seconds,
            JobEvent.type.in_(CHATTER),
        )
        .limit(most)
    )
    rows = [tuple(row) for row in session.execute(old)]
    for some in (rows[n : n + 500] for n in range(0, len(rows), 500)):
        session.execute(
            delete(JobEvent)
            .where(tuple_(JobEvent.job_id, JobEvent.n).in_(some))
            .execution_options(synchronize_session=False)
        )
    return len(rows)


def expendable_checkpoints(session: Session, settings: Settings, most: int) -> Sequence[Checkpoint]:
    """The one decision which checkpoints may go: those of jobs that ended long enough ago, unless a job that has
    not ended begins with them; the last state of a training that succeeded stays longer, for it can go on.

    (While a job runs, the publisher keeps the newest few and the best.)
    """
    age = case(
        (checkpoints.is_final(), settings.keep_final_seconds),
        else_=settings.keep_ended_checkpoints_seconds,
    )
    return session.scalars(
        select(Checkpoint)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(
            Job.state.in_(FINAL),
            Job.finished_at < clock(session) - age,
            ~checkpoints.in_use(),
        )
        .order_by(Checkpoint.id)
        .limit(most)
    ).all()


def model_is_used(session: Session, row: Model) -> bool:
    """Whether a job that has not ended was promised it: named it, or waits for the training that made it."""
    used = Job.model_id == row.id
    if row.job_id:
        # a generation that waits for the training takes its model only when it is claimed
        used = or_(used, Job.waits_for == row.job_id)
    return bool(session.scalar(select(exists().where(used, Job.state.not_in(FINAL)))))


def inputs_in_use(session: Session) -> set[str]:
    """Storage keys that jobs which have not ended will read."""
    rows = session.scalars(select(Job.inputs).where(Job.state.not_in(FINAL)))
    return {source["location"] for inputs in rows for source in (inputs or {}).values()}
