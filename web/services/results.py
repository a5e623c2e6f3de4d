"""The gallery: results of one's own, or those that everybody shares, by what they are and how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, TextClause, and_, exists, func, or_, select, text
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.models import Artifact, Job, Mark, Model, User
from shared.models.artifact import IN_GALLERY, SHARED
from shared.models.mark import STAR
from web.queries import Flag, Word
from web.requests import NO_NUL, ArtifactChange, Tag
from web.services import access, artifacts, audit, marks
from web.services.job_lists import Page
from web.services.shapes import Shape, card_shape
from web.services.studio import Studio

# the parameters that say in words what is wanted
PROMPTS = ("prompt", "class_label")
MADE = text("role IN ('output', 'grid')")


class Filters(Page):
    """What GET /artifacts may ask for."""

    whose: Literal["mine", "shared"] = Field(
        "mine", description="Your own, or what is shared with everybody."
    )
    media: Literal["image", "text"] | None = None
    family: Word | None = None
    model_id: Word | None = None
    job_id: Word | None = None
    tag: Tag | None = Field(None, description="One of your own tags.")
    starred: Flag | None = Field(None, description="1: only those that you starred.")
    q: Annotated[str, Field(max_length=200, json_schema_extra={"pattern": NO_NUL})] | None = Field(
        None, description="A part of the prompt or the label; of your own also of the job's name."
    )


def list_results(
    studio: Studio, user: User, filters: Filters | None = None, *, excerpt: int = 0
) -> Shape:
    """{"items": [...], "next": cursor or None}, newest first; texts with so many characters as `text`, if asked."""
    filters = filters or Filters()
    query = select(Artifact).where(*_conditions(user, filters)).order_by(Artifact.id.desc())
    if filters.after:
        query = query.where(Artifact.id < filters.after)
    with studio.db.reading() as session:
        rows = session.scalars(query.limit(filters.size + 1)).all()
        items = cards(session, user, rows[: filters.size])
    if excerpt:
        read = artifacts.texts(studio, rows[: filters.size], excerpt)
        for item in items:
            if item["id"] in read:
                item["text"] = read[item["id"]] or ""  # where it cannot be read, its page says why
    return {"items": items, "next": items[-1]["id"] if len(rows) > filters.size else None}


def neighbours(
    studio: Studio, user: User, artifact_id: str, filters: Filters
) -> tuple[str | None, str | None]:
    """The ids before and after it in the gallery with these filters."""
    conditions = _conditions(user, filters)
    with studio.db.reading() as session:
        newer = select(func.min(Artifact.id)).where(*conditions, Artifact.id > artifact_id)
        older = select(func.max(Artifact.id)).where(*conditions, Artifact.id < artifact_id)
        return session.scalar(newer), session.scalar(older)


def get_result(studio: Studio, user: User, artifact_id: str) -> Shape:
    """One's own, or a shared one. Raises NotFound."""
    with studio.db.reading() as session:
        return cards(session, user, [access.readable(session, Artifact, artifact_id, user)])[0]


def cards(session: Session, user: User, rows: Sequence[Artifact]) -> list[Shape]:
    """The results with how they were made and what this user noted on them; two queries however many there are."""
    made = session.scalars(select(Job).where(Job.id.in_({row.job_id for row in rows})))
    jobs = {job.id: job for job in made}
    noted = marks.of(session, user, [row.id for row in rows])
    return [
        card_shape(row, jobs[row.job_id], noted.get(row.id, set()), row.user_id == user.id)
        for row in rows
    ]


def change_results(
    studio: Studio, user: User, ids: Sequence[str], change: ArtifactChange
) -> list[Shape]:
    """Star and tags are everybody's own; sharing is the owner's. All of them or none. Raises NotFound."""
    with studio.db.writing() as session:
        rows = access.all_readable(session, Artifact, ids, user)
        named = [row.id for row in rows]
        if change.starred is not None:
            (marks.add if change.starred else marks.remove)(session, user, named, [STAR])
        if change.tags is not None:
            had = set().union(*marks.of(session, user, named).values()) - {STAR}
            marks.remove(session, user, named, had - set(change.tags))
        marks.add(session, user, named, [*(change.tags or ()), *change.add_tags])
        marks.remove(session, user, named, change.remove_tags)
        if change.visibility is not None:
            _share(session, user, rows, change.visibility)
        return cards(session, user, rows)


def _share(session: Session, user: User, rows: Sequence[Artifact], visibility: str) -> None:
    if any(row.user_id != user.id for row in rows):
        raise NotFound()
    for row in rows:
        if row.visibility != visibility:
            row.visibility = visibility
            session.flush()
            audit.record(session, "shared" if visibility == "shared" else "unshared", user, row)


def _conditions(user: User, filters: Filters) -> list[ColumnElement[bool] | TextClause]:
    """The first ones in the words of the indexes, or SQLite would not use them."""
    found: list[ColumnElement[bool] | TextClause]
    if filters.whose == "shared":
        found = [SHARED, MADE]
    else:
        found = [Artifact.user_id == user.id, IN_GALLERY]
    if filters.media:
        found.append(Artifact.media_type.startswith(f"{filters.media}/"))
    if filters.job_id:
        # of what others share, neither its job nor that job's name is known to anybody else
        found += [Artifact.job_id == filters.job_id, Artifact.user_id == user.id]
    if filters.model_id and filters.whose == "shared":
        model = exists().where(Model.id == filters.model_id, access.may_read(Model, user))
        found.append(or_(Artifact.user_id == user.id, model))
    marked = [STAR] * bool(filters.starred) + [filters.tag] * bool(filters.tag)
    for name in marked:
        mine = and_(Mark.user_id == user.id, Mark.name == name, Mark.artifact_id == Artifact.id)
        found.append(exists().where(mine))
    if made := _made(filters):
        found.append(exists().where(Job.id == Artifact.job_id, *made))
    return found


def _made(filters: Filters) -> list[ColumnElement[bool]]:
    """What is asked of the job."""
    found: list[ColumnElement[bool]] = []
    if filters.family:
        found.append(Job.family == filters.family)
    if filters.model_id:
        found.append(Job.model_id == filters.model_id)
    if filters.q:
        asked: list[Any] = [Job.params[name].as_string() for name in PROMPTS]
        if filters.whose == "mine":
            asked.append(Job.name)
        found.append(or_(*(one.icontains(filters.q, autoescape=True) for one in asked)))
    return found
