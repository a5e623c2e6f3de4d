"""The gallery: results of one's own, or those that everybody shares, by what they are and how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, TextClause, and_, exists, func, or_, select, text
from sqlalchemy.orm import Session

from shared.errors import NotFound, Unavailable
from shared.models import Artifact, Job, Mark, User
from shared.models.artifact import IN_GALLERY, SHARED
from shared.models.mark import STAR
from web.queries import Flag, Word
from web.requests import NO_NUL, ArtifactChange, Tag
from web.services import access, audit, marks
from web.services.job_lists import Page
from web.services.shapes import Shape, card_shape
from web.services.studio import Studio

# the parameters that say in words what is wanted
PROMPTS = ("prompt", "class_label")
READ_AT_ONCE = 8
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
        None, description="A part of the prompt, the label or the job's name."
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
        texts = [pair for pair in zip(rows, items, strict=False) if _is_text(pair[0])]
        # side by side: where the storage is far, each of them is a way there and back
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            read = pool.map(lambda pair: _beginning(studio, pair[0], excerpt), texts)
            for (_row, item), text_of_it in zip(texts, read, strict=True):
                item["text"] = text_of_it
    return {"items": items, "next": items[-1]["id"] if len(rows) > filters.size else None}


def _is_text(row: Artifact) -> bool:
    return row.media_type.startswith("text/")


def _beginning(studio: Studio, row: Artifact, characters: int) -> str:
    """Nothing where the file is gone or cannot be reached: its page says why."""
    try:
        with studio.storage.open(row.location) as file:
            return file.read(4 * characters).decode("utf-8", "replace")[:characters]
    except (NotFound, Unavailable):
        return ""


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
        rows = [access.readable(session, Artifact, one, user) for one in dict.fromkeys(ids)]
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
    for row in rows:
        access.own(session, Artifact, row.id, user)
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
        found.append(Artifact.job_id == filters.job_id)
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
        asked: list[Any] = [Job.name, *(Job.params[name].as_string() for name in PROMPTS)]
        found.append(or_(*(one.icontains(filters.q, autoescape=True) for one in asked)))
    return found
