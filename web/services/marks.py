"""Stars and tags: what a person notes on results, his own and those that others share. Nobody else sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared.db import clock, lock_rows
from shared.models import Mark, User
from shared.models.mark import STAR
from web.services.studio import Studio

MOST_NAMES = 200


def of(session: Session, user: User, ids: Sequence[str]) -> dict[str, set[str]]:
    """What this user has noted on each of these results; STAR stands for the star."""
    found: dict[str, set[str]] = defaultdict(set)
    rows = select(Mark.artifact_id, Mark.name).where(
        Mark.user_id == user.id, Mark.artifact_id.in_(ids)
    )
    for artifact_id, name in session.execute(rows):
        found[artifact_id].add(name)
    return found


def tags(studio: Studio, user: User) -> list[str]:
    """All tags of this user, by name."""
    query = (
        select(Mark.name)
        .where(Mark.user_id == user.id, Mark.name != STAR)
        .distinct()
        .order_by(Mark.name)
        .limit(MOST_NAMES)
    )
    with studio.db.reading() as session:
        return list(session.scalars(query))


def add(session: Session, user: User, ids: Iterable[str], names: Iterable[str]) -> None:
    """Noting twice is noting once, also when two do it at the same moment."""
    at = clock(session)
    rows = [
        {"user_id": user.id, "artifact_id": one, "name": name, "created_at": at}
        for one in ids
        for name in names
    ]
    if rows:
        insert: Any = postgresql.insert if lock_rows(session) else sqlite.insert
        session.execute(insert(Mark).on_conflict_do_nothing(), rows)


def remove(session: Session, user: User, ids: Sequence[str], names: Iterable[str]) -> None:
    session.execute(
        delete(Mark).where(
            Mark.user_id == user.id, Mark.artifact_id.in_(ids), Mark.name.in_(list(names))
        )
    )
