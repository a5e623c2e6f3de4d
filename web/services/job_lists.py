"""Lists of jobs: filters, newest first, cursor by id (ids sort by the time they were made)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from sqlalchemy import ColumnElement, or_, select

from shared.jobs import STATES
from shared.models import Job, User
from web.queries import Moment, Whole, Word
from web.requests import NO_NUL, Strict
from web.services import shown
from web.services.studio import Studio

# what _states() takes, for the schema
STATES_PATTERN = "^({0})(,({0}))*$".format("|".join(STATES))


def _states(text: str) -> str:
    if strange := set(text.split(",")) - set(STATES):
        raise ValueError(f"{min(strange)!r} is no state; there are {', '.join(STATES)}")
    return text


class Page(Strict):
    """`limit` and `after` of every list; values arrive as text."""

    limit: Whole = Field(50, ge=1, le=200, description="Most entries in one answer.")
    after: Annotated[str, Field(pattern="^[0-9a-z]{1,32}$")] | None = Field(
        None, description="The `next` of the answer before this one."
    )

    @property
    def size(self) -> int:
        return self.limit


class Filters(Page):
    """What GET /jobs may ask for."""

    state: (
        Annotated[
            str,
            Field(max_length=100, json_schema_extra={"pattern": STATES_PATTERN}),
            AfterValidator(_states),
        ]
        | None
    ) = Field(None, description="One state, or several with commas.")
    kind: Word | None = None
    family: Word | None = None
    model_id: Word | None = None
    dataset_id: Word | None = None
    created_after: Moment | None = None
    q: Annotated[str, Field(max_length=200, json_schema_extra={"pattern": NO_NUL})] | None = Field(
        None, description="A part of the name, or the whole id."
    )


def list_jobs(studio: Studio, user: User, filters: Filters | None = None) -> dict[str, Any]:
    """{"items": [...], "next": cursor or None}."""
    filters = filters or Filters()
    query = (
        select(Job)
        .where(Job.user_id == user.id, Job.deleted_at.is_(None), *_conditions(filters))
        .order_by(Job.id.desc())
        .limit(filters.size + 1)
    )
    with studio.db.reading() as session:
        rows = session.scalars(query).all()
        items = shown.jobs(session, rows[: filters.size], studio.settings)
    more = len(rows) > filters.size
    return {"items": items, "next": items[-1]["id"] if more else None}


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.after:
        conditions.append(Job.id < filters.after)
    if filters.state:
        conditions.append(Job.state.in_(filters.state.split(",")))
    for name in ("kind", "family", "model_id", "dataset_id"):
        if value := getattr(filters, name):
            conditions.append(getattr(Job, name) == value)
    if isinstance(filters.created_after, datetime):
        conditions.append(Job.created_at > filters.created_after.timestamp())
    if filters.q:
        conditions.append(or_(Job.name.icontains(filters.q, autoescape=True), Job.id == filters.q))
    return conditions
