"""What a user may see: his own, and what others share with everybody. Everything else is not there (404)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, select
from sqlalchemy.orm import Session

from shared.db import lock_rows
from shared.errors import NotFound
from shared.models import Artifact, Dataset, Job, Model, User
from web.requests import ModelChange
from web.services import audit

Owned = TypeVar("Owned", Job, Artifact)
Shareable = TypeVar("Shareable", Dataset, Model, Artifact)
Held = TypeVar("Held", Artifact, Dataset, Model)


def own(session: Session, table: type[Owned], row_id: str, user: User) -> Owned:
    """The user's own row. Raises NotFound."""
    _check_id(row_id)
    row: Owned | None = session.scalar(_own(table), {"row_id": row_id, "user_id": user.id})
    if row is None:
        raise NotFound()
    return row


def _check_id(row_id: str) -> None:
    """PostgreSQL refuses to look for what forms and addresses can hold."""
    if "\0" in row_id:
        raise NotFound()


@cache
def _own(table: type[Owned]) -> Select[Any]:
    """Put together once: every look at a job asks it."""
    mine = table.user_id == bindparam("user_id")
    return select(table).where(table.id == bindparam("row_id"), mine, table.deleted_at.is_(None))


def may_read(table: type[Shareable], user: User) -> ColumnElement[bool]:
    return _may_read(table, user.id)


def _may_read(table: type[Shareable], user_id: str | BindParameter[Any]) -> ColumnElement[bool]:
    return table.deleted_at.is_(None) & (
        (table.user_id == user_id) | (table.visibility == "shared")
    )


def is_readable(row: Dataset | Model | Artifact, user: User) -> bool:
    """The same of a row that is here already; the owner's own also when it is deleted."""
    return row.user_id == user.id or (row.visibility == "shared" and row.deleted_at is None)


def readable(session: Session, table: type[Shareable], row_id: str, user: User) -> Shareable:
    """The user's own row, or one that is shared. Raises NotFound."""
    _check_id(row_id)
    row: Shareable | None = session.scalar(_readable(table), {"row_id": row_id, "user_id": user.id})
    if row is None:
        raise NotFound()
    return row


@cache
def _readable(table: type[Shareable]) -> Select[Any]:
    """Put together once: every submit asks it twice."""
    return select(table).where(
        table.id == bindparam("row_id"), _may_read(table, bindparam("user_id"))
    )


def all_readable(
    session: Session, table: type[Shareable], ids: Iterable[str], user: User
) -> list[Shareable]:
    """The same of many, each once, in this order. Raises NotFound when one of them is not there."""
    wanted = list(dict.fromkeys(ids))
    for row_id in wanted:
        _check_id(row_id)
    rows = session.scalars(select(table).where(table.id.in_(wanted), may_read(table, user)))
    found = {row.id: row for row in rows}
    if len(found) < len(wanted):
        raise NotFound()
    return [found[row_id] for row_id in wanted]


def own_shareable(session: Session, table: type[Shareable], row_id: str, user: User) -> Shareable:
    """A row that the user may change. Raises NotFound."""
    row = readable(session, table, row_id, user)
    if row.user_id != user.id:
        raise NotFound()
    return row


def change(session: Session, row: Dataset | Model, user: User, asked: ModelChange) -> None:
    """Name and visibility. Un-shared, it stays readable to jobs already accepted, and to nobody else: a submit that
    has looked at it holds its row (`hold`), so this waits for that job, or the submit finds it private.
    """
    was = row.visibility
    for name in asked.model_fields_set:
        if (value := getattr(asked, name)) is not None:
            setattr(row, name, value)
    session.flush()
    if row.visibility != was:
        audit.record(session, "shared" if row.visibility == "shared" else "unshared", user, row)


def told(user_id: str, what: str, rows: Iterable[Any]) -> list[dict[str, Any]]:
    """What depends on something, from (id, owner): this user's own by id, of other people's only how many."""
    rows = list(rows)
    found: list[dict[str, Any]] = [
        {"type": what, "id": row_id} for row_id, owner in rows if owner == user_id
    ]
    others = len(rows) - len(found)
    return [*found, {"type": what, "count": others, "whose": "others"}] if others else found


def hold(session: Session, table: type[Held], row_id: str, *, to_delete: bool = False) -> None:
    """Until this transaction ends nobody deletes the row; held to delete it, nobody else holds it either.

    Between the two a job is never accepted for what is just being deleted. Raises NotFound if that has happened.
    """
    if not lock_rows(session):
        return  # writing() holds SQLite's one lock
    query = select(table.id).where(table.id == row_id, table.deleted_at.is_(None))
    if session.scalar(query.with_for_update(read=not to_delete)) is None:
        raise NotFound()
