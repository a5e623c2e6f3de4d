"""The audit: who did what to whom, and when. Entries are added in the transaction of the act, and never changed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import clock
from shared.models import (
    ApiToken,
    Artifact,
    AuditEntry,
    Dataset,
    Invitation,
    Job,
    Model,
    User,
    Webhook,
    Worker,
)
from shared.moments import rfc3339
from web.services.job_lists import Page
from web.services.studio import Studio

LONGEST_NAME = 200  # of the column; a file's name may be longer

Subject = User | ApiToken | Invitation | Dataset | Model | Artifact | Job | Webhook | Worker

TYPES = {
    User: "user",
    ApiToken: "token",
    Invitation: "invitation",
    Dataset: "dataset",
    Model: "model",
    Artifact: "artifact",
    Job: "job",
    Webhook: "webhook",
    Worker: "worker",
}


class AuditPage(Page):
    """What GET /audit may ask for."""

    action: Annotated[str, Field(pattern="^[a-z_]{1,32}$")] | None = None
    actor_id: Annotated[str, Field(pattern="^[0-9a-z]{1,32}$")] | None = None
    subject_id: Annotated[str, Field(pattern="^[A-Za-z0-9.-]{1,64}$")] | None = (
        None  # or a worker's
    )


def record(
    session: Session,
    action: str,
    actor: User | None,
    subject: Subject | None = None,
    *,
    address: str = "",
    **facts: Any,
) -> None:
    """No actor: the command line, or somebody who has not said who he is."""
    session.add(
        AuditEntry(
            at=clock(session),
            actor_id=actor.id if actor else None,
            actor_name=actor.name if actor else "",
            action=action,
            subject_type=TYPES[type(subject)] if subject else "",
            subject_id=subject.id if subject else "",
            subject_name=_name(subject)[:LONGEST_NAME],
            address=address[:64],
            facts=facts,
        )
    )


def _name(subject: Subject | None) -> str:
    if isinstance(subject, Invitation):
        return subject.note
    if subject is None or isinstance(subject, Worker):
        return ""  # a worker's id says all
    return subject.name


def list_entries(studio: Studio, page: AuditPage) -> dict[str, Any]:
    """The newest first."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc())
    if page.after:
        query = query.where(AuditEntry.id < page.after)
    for name in ("action", "actor_id", "subject_id"):
        if value := getattr(page, name):
            query = query.where(getattr(AuditEntry, name) == value)
    with studio.db.reading() as session:
        rows = session.scalars(query.limit(page.size + 1)).all()
    items = [_shown(row) for row in rows[: page.size]]
    return {"items": items, "next": items[-1]["id"] if len(rows) > page.size else None}


def actions(studio: Studio) -> list[str]:
    """Those that have happened."""
    with studio.db.reading() as session:
        return sorted(session.scalars(select(AuditEntry.action).distinct()))


def _shown(row: AuditEntry) -> dict[str, Any]:
    subject = {"type": row.subject_type, "id": row.subject_id, "name": row.subject_name}
    return {
        "id": row.id,
        "at": rfc3339(row.at),
        "actor": {"id": row.actor_id, "name": row.actor_name} if row.actor_id else None,
        "action": row.action,
        "subject": subject if row.subject_type else None,
        "address": row.address,
        "facts": row.facts,
    }
