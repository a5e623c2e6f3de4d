"""What a model makes, as far as its reader may see it: drawn by its training, or generated with it since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.models import Artifact, Job, User
from web.services.shapes import artifact_shape
from web.services.studio import Studio

Shape = dict[str, Any]


def newest(
    studio: Studio, user: User, models: Sequence[Shape], most: int
) -> dict[str, list[Shape]]:
    """By the model's id, in three queries however many models: the user's own newest generations with it, else what
    his training drew last."""
    with studio.db.reading() as session:
        ids = [model["id"] for model in models]
        made = _newest_jobs(session, user, ids, most)
        found = _newest(session, user, Job.model_id, made, Artifact.role == "output", most)
        trainings = {
            model["job_id"]: model["id"]
            for model in models
            if model["job_id"] and model["id"] not in found
        }
        drawn = _newest(session, user, Job.id, list(trainings), Artifact.role == "preview", most)
    return found | {trainings[job_id]: shapes for job_id, shapes in drawn.items()}


def _newest_jobs(session: Session, user: User, model_ids: list[str], most: int) -> list[str]:
    """Of each model as many generations as surely hold its newest outputs, without a look at all that it ever made."""
    has_output = exists().where(
        Artifact.job_id == Job.id, Artifact.role == "output", Artifact.deleted_at.is_(None)
    )
    if not model_ids:
        return []
    heads = (
        select(Job.id)
        .where(
            Job.model_id == model_id,
            Job.user_id == user.id,
            Job.state == "succeeded",
            Job.deleted_at.is_(None),
            has_output,
        )
        .order_by(Job.id.desc())
        .limit(most)
        .subquery()
        for model_id in model_ids
    )
    return list(session.scalars(union_all(*(select(head.c.id) for head in heads))))


def _newest(
    session: Session,
    user: User,
    by: InstrumentedAttribute[Any],
    job_ids: list[str],
    which: ColumnElement[bool],
    most: int,
) -> dict[str, list[Shape]]:
    if not job_ids:
        return {}
    newest_first = (Artifact.created_at.desc(), Artifact.id.desc())
    place = func.row_number().over(partition_by=by, order_by=newest_first).label("place")
    ranked = (
        select(Artifact.id, by.label("subject"), place)
        .join(Job, Job.id == Artifact.job_id)
        .where(
            Job.id.in_(job_ids), Artifact.user_id == user.id, Artifact.deleted_at.is_(None), which
        )
        .subquery()
    )
    query = (
        select(ranked.c.subject, Artifact)
        .join(ranked, ranked.c.id == Artifact.id)
        .where(ranked.c.place <= most)
        .order_by(*newest_first)
    )
    found: dict[str, list[Shape]] = {}
    for subject, row in session.execute(query):
        found.setdefault(subject, []).append(artifact_shape(row))
    return found
