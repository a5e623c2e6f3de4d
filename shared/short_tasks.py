"""Ordinary short work as rows with a state and a lease, run by the cpu worker, never lost.

A slot makes periodic work happen once: the database refuses a second row with the same slot.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared.db import NOW, lock_rows
from shared.ids import new_id
from shared.models import ShortTask

STRIKES = 3
BACKOFF_SECONDS = 5.0
LONGEST_ERROR = 2000


def add(
    session: Session, name: str, arguments: dict[str, Any], slot: str | None = None
) -> ShortTask | None:
    """A new row, due at once; None when the slot is taken already."""
    insert = postgresql.insert if lock_rows(session) else sqlite.insert
    statement = (
        insert(ShortTask)
        .values(
            id=new_id(),
            name=name,
            slot=slot,
            arguments=arguments,
            state="queued",
            fence=0,
            strikes=0,
            error="",
            created_at=NOW,
        )
        .on_conflict_do_nothing(index_elements=[ShortTask.slot])
        .returning(ShortTask)
    )
    return session.scalars(statement).one_or_none()


def claim_due(session: Session, lease_seconds: float) -> ShortTask | None:
    """The next due task, leased to the caller; a task whose holder died is due again."""
    candidate = session.execute(
        select(ShortTask.id, ShortTask.fence)
        .where(_due())
        .order_by(ShortTask.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if candidate is None:
        return None
    return session.scalars(
        update(ShortTask)
        .where(ShortTask.id == candidate.id, ShortTask.fence == candidate.fence, _due())
        .values(
            state="running",
            fence=ShortTask.fence + 1,
            # A holder that died silently counts as a strike, or it could kill us for ever.
            strikes=ShortTask.strikes + 1,
            lease_until=NOW + lease_seconds,
        )
        .returning(ShortTask)
        .execution_options(populate_existing=True)
    ).one_or_none()


def renew(session: Session, task: ShortTask, fence: int, lease_seconds: float) -> bool:
    """Holds the lease for longer; False when it is lost."""
    return _write(session, task, fence, lease_until=NOW + lease_seconds)


def finish(session: Session, task: ShortTask, fence: int) -> bool:
    return _write(session, task, fence, state="done", lease_until=None, finished_at=NOW, error="")


def retry_or_fail(session: Session, task: ShortTask, fence: int, error: str) -> bool:
    """Again after a wait, or failed for good with the third time."""
    error = error[:LONGEST_ERROR]
    if task.strikes >= STRIKES:
        return _write(
            session,
            task,
            fence,
            state="failed",
            lease_until=None,
            finished_at=NOW,
            error=error,
        )
    wait = BACKOFF_SECONDS * 2**task.strikes
    return _write(
        session,
        task,
        fence,
        state="queued",
        lease_until=None,
        not_before=NOW + wait,
        error=error,
    )


def put_off(session: Session, task: ShortTask, fence: int, error: str, seconds: float) -> bool:
    """Again after a wait, as if it had not been tried: it was not the task's fault."""
    return _write(
        session,
        task,
        fence,
        state="queued",
        lease_until=None,
        strikes=task.strikes - 1,
        not_before=NOW + seconds,
        error=error[:LONGEST_ERROR],
    )


def due_since(session: Session, seconds: float) -> bool:
    """Whether some task has been due for that long, so that its wake-up must have been lost."""
    statement = select(exists().where(_due(), ShortTask.created_at < NOW - seconds))
    return bool(session.scalar(statement))


def fail_worn_out(session: Session) -> int:
    """Fails tasks whose holders died STRIKES times; they are not due any more."""
    result = session.execute(
        update(ShortTask)
        .where(
            ShortTask.state == "running",
            ShortTask.lease_until < NOW,
            ShortTask.strikes >= STRIKES,
        )
        .values(
            state="failed",
            fence=ShortTask.fence + 1,
            finished_at=NOW,
            error="The process that ran it died every time.",
        )
    )
    return int(result.rowcount)  # type: ignore[attr-defined]


def _due() -> ColumnElement[bool]:
    waiting = and_(
        ShortTask.state == "queued",
        or_(ShortTask.not_before.is_(None), ShortTask.not_before <= NOW),
    )
    abandoned = and_(
        ShortTask.state == "running",
        ShortTask.lease_until < NOW,
        ShortTask.strikes < STRIKES,
    )
    return or_(waiting, abandoned)


def _write(session: Session, task: ShortTask, fence: int, **values: Any) -> bool:
    statement = (
        update(ShortTask)
        .where(ShortTask.id == task.id, ShortTask.fence == fence, ShortTask.state == "running")
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return int(session.execute(statement).rowcount) == 1  # type: ignore[attr-defined]
