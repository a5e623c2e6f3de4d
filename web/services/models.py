"""Models: cards, names, sharing, deletion."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from shared.db import clock
from shared.errors import InUse, Unavailable
from shared.models import Artifact, Dataset, Job, Model, User
from web.requests import NO_NUL, ModelChange
from web.services import access
from web.services.job_lists import Page
from web.services.shapes import model_shape
from web.services.studio import Studio

log = logging.getLogger(__name__)


class Filters(Page):
    """What GET /models may ask for."""

    q: Annotated[str, Field(max_length=200, json_schema_extra={"pattern": NO_NUL})] | None = Field(
        None, description="A part of the name or the family, or the whole id."
    )


def list_models(studio: Studio, user: User, page: Page | None = None) -> dict[str, Any]:
    """The user's own and the shared ones, newest first."""
    page = page or Page()
    query = select(Model).where(access.may_read(Model, user)).order_by(Model.id.desc())
    if isinstance(page, Filters) and page.q:
        named = [one.icontains(page.q, autoescape=True) for one in (Model.name, Model.family)]
        query = query.where(or_(Model.id == page.q, *named))
    if page.after:
        query = query.where(Model.id < page.after)
    with studio.db.reading() as session:
        rows = session.scalars(query.limit(page.size + 1)).all()
    items = [model_shape(row, row.user_id == user.id) for row in rows[: page.size]]
    return {"items": items, "next": items[-1]["id"] if len(rows) > page.size else None}


def of_dataset(studio: Studio, user: User, dataset_id: str, most: int) -> list[dict[str, Any]]:
    """The user's own models that learnt from this dataset, newest first."""
    query = select(Model).where(
        Model.user_id == user.id, Model.dataset_id == dataset_id, Model.deleted_at.is_(None)
    )
    with studio.db.reading() as session:
        rows = session.scalars(query.order_by(Model.id.desc()).limit(most)).all()
    return [model_shape(row, mine=True) for row in rows]


def get_model(studio: Studio, user: User, model_id: str) -> dict[str, Any]:
    """The card with its lineage. Raises NotFound."""
    with studio.db.reading() as session:
        return _card(session, access.readable(session, Model, model_id, user), user)


def pictures_of(studio: Studio, models: list[dict[str, Any]]) -> dict[str, str]:
    """Of each of these models that is one's own and draws, the id of the newest preview of its training."""
    jobs = {one["job_id"]: one["id"] for one in models if one["job_id"]}
    newest = (
        select(func.max(Artifact.id))
        .where(
            Artifact.job_id.in_(jobs),
            Artifact.role == "preview",
            Artifact.media_type == "image/png",
            Artifact.deleted_at.is_(None),
        )
        .group_by(Artifact.job_id)
    )
    with studio.db.reading() as session:
        rows = session.execute(select(Artifact.job_id, Artifact.id).where(Artifact.id.in_(newest)))
        return {jobs[job_id]: artifact_id for job_id, artifact_id in rows}


def _card(session: Session, row: Model, user: User) -> dict[str, Any]:
    mine = row.user_id == user.id
    job = session.get(Job, row.job_id) if row.job_id else None
    dataset = session.get(Dataset, row.dataset_id) if row.dataset_id else None
    # what somebody else shared and took back is known by its hash alone
    known = mine and dataset is not None and access.is_readable(dataset, user)
    return {
        **model_shape(row, mine),
        "params": job.params if job and mine else None,
        "seed": job.seed if job and mine else None,
        "lineage": {
            "job": {"id": job.id} if job and mine else None,
            "dataset": {
                "id": dataset.id if known else None,
                "name": dataset.name if known else None,
                "sha256": dataset.sha256,
            }
            if dataset
            else None,
        },
    }


def change_model(studio: Studio, user: User, model_id: str, change: ModelChange) -> dict[str, Any]:
    """Raises NotFound, also for a shared model of somebody else."""
    with studio.db.writing() as session:
        row = access.own_shareable(session, Model, model_id, user)
        access.change(session, row, user, change)
        return _card(session, row, user)


def delete_model(studio: Studio, user: User, model_id: str, force: bool = False) -> None:
    """Raises InUse while accepted jobs need it; by force it is hidden, and its bytes go with the sweep."""
    with studio.db.writing() as session:
        row = access.own_shareable(session, Model, model_id, user)
        access.hold(session, Model, row.id, to_delete=True)
        needed = _needed_by(session, row)
        if needed and not force:
            raise InUse("Accepted jobs need this model.", dependents=needed)
        row.deleted_at = clock(session)
    if not needed:
        try:
            studio.storage.delete(row.location)
        except (OSError, Unavailable) as error:
            log.warning("files of a deleted model are left to the sweep: %s", error)


def _needed_by(session: Session, row: Model) -> list[dict[str, Any]]:
    active = Job.state.in_(("queued", "running"))
    jobs = session.execute(select(Job.id, Job.user_id).where(Job.model_id == row.id, active))
    found = access.told(row.user_id, "job", jobs)
    waiting = select(Job.id).where(
        Job.waits_for == row.job_id, Job.model_id.is_(None), Job.kind == "generate", active
    )
    if row.job_id:
        found += [{"type": "job", "id": job_id} for job_id in session.scalars(waiting)]
    return found
