"""Families as announced: written by workers, read by web. A row stays when its worker goes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, bindparam, select, update
from sqlalchemy.orm import Session

from shared.db import NOW, clock
from shared.errors import NotFound
from shared.models import FamilyRow, Worker

# A worker that has not been seen for this long offers nothing.
FRESH_SECONDS = 30.0
LIVE = select(Worker).where(
    Worker.heartbeat_at > NOW - bindparam("seconds", type_=Double()), Worker.state != "gone"
)

NEWEST = (
    select(FamilyRow)
    .where(FamilyRow.name == bindparam("name"))
    .order_by(FamilyRow.version.desc())
    .limit(1)
)


def announce(session: Session, announcement: dict[str, Any]) -> None:
    """Writes or refreshes a family's row."""
    key = (announcement["name"], announcement["version"])
    row = session.get(FamilyRow, key)
    if row is None:
        row = FamilyRow(name=key[0], version=key[1], announcement=announcement, announced_at=0.0)
        session.add(row)
    row.announcement = announcement
    row.announced_at = clock(session)
    session.flush()


def keep_alive(session: Session, offered: dict[str, int]) -> None:
    """Says that these versions are still on offer."""
    at = clock(session)
    for name, version in sorted(offered.items()):
        session.execute(
            update(FamilyRow)
            .where(FamilyRow.name == name, FamilyRow.version == version)
            .values(announced_at=at)
            .execution_options(synchronize_session=False)
        )


def families(session: Session, fresh_seconds: float = FRESH_SECONDS) -> list[dict[str, Any]]:
    """Every family in its newest version, by title, with `online`: some live worker runs that version."""
    alive = offered_versions(session, fresh_seconds)
    newest: dict[str, FamilyRow] = {}
    for row in session.scalars(select(FamilyRow).order_by(FamilyRow.name, FamilyRow.version)):
        newest[row.name] = row
    found = [
        {**row.announcement, "online": (row.name, row.version) in alive} for row in newest.values()
    ]
    return sorted(found, key=lambda family: str(family["title"]))


def family(session: Session, name: str, version: int | None = None) -> dict[str, Any]:
    """One announcement: the newest version, or the one asked for. Raises NotFound."""
    if version is None:
        row = session.scalars(NEWEST, {"name": name}).one_or_none()
    else:
        row = session.get(FamilyRow, (name, version))
    if row is None:
        raise NotFound("There is no such family.")
    return dict(row.announcement)


def live_workers(session: Session, fresh_seconds: float = FRESH_SECONDS) -> list[Worker]:
    return list(session.scalars(LIVE, {"seconds": fresh_seconds}))


def offered_versions(
    session: Session, fresh_seconds: float = FRESH_SECONDS
) -> set[tuple[str, int]]:
    return {
        (name, version)
        for worker in live_workers(session, fresh_seconds)
        for name, version in worker.families.items()
    }
