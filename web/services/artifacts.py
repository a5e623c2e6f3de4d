"""Artifacts: what they are, their bytes, where they come from, deletion."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any, BinaryIO

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from shared.db import clock
from shared.errors import InUse, NotFound, Unavailable
from shared.models import Artifact, Dataset, Job, Model, User
from web.services import access, references
from web.services.shapes import artifact_shape
from web.services.studio import Studio
from web.services.texts import beginnings

log = logging.getLogger(__name__)


def open_artifact(studio: Studio, user: User, artifact_id: str) -> tuple[dict[str, Any], BinaryIO]:
    """The artifact and its bytes, for the caller to close. Raises NotFound."""
    with studio.db.reading() as session:
        row = access.readable(session, Artifact, artifact_id, user)
    try:
        return artifact_shape(row), studio.storage.open(row.location)
    except NotFound:
        log.error("the file of artifact %s is missing", row.id)
        raise NotFound("The file of this artifact is gone.") from None


def texts(studio: Studio, rows: Iterable[Artifact], characters: int) -> dict[str, str | None]:
    """By id, how those of them that are texts begin; None where that cannot be read."""
    chosen = [row for row in rows if row.media_type.startswith("text/")]
    opened = [partial(studio.storage.open, row.location) for row in chosen]
    read = beginnings(opened, characters)
    return {row.id: text for row, text in zip(chosen, read, strict=True)}


def texts_of(
    studio: Studio, user: User, ids: Collection[str], characters: int
) -> dict[str, str | None]:
    """The same of what the user may read."""
    with studio.db.reading() as session:
        mine = access.may_read(Artifact, user)
        rows = session.scalars(select(Artifact).where(Artifact.id.in_(ids), mine)).all()
    return texts(studio, rows, characters)


def open_thumbnail(
    studio: Studio, user: User, artifact_id: str
) -> tuple[dict[str, Any], BinaryIO, bool]:
    """What is shown of a picture, its bytes, and whether it is the user's. A small one is its own thumbnail."""
    with studio.db.reading() as session:
        row = access.readable(session, Artifact, artifact_id, user)
        if not row.media_type.startswith("image/"):
            raise NotFound()
        small = session.scalar(_thumbnail_of(row))
    shown = small or row
    file = studio.storage.open(shown.location)
    return artifact_shape(shown), file, row.user_id == user.id


def _thumbnail_of(row: Artifact) -> Select[Artifact]:
    return select(Artifact).where(
        Artifact.job_id == row.job_id,
        Artifact.role == "thumbnail",
        Artifact.name == f"{row.name}.jpg",
        Artifact.deleted_at.is_(None),
    )


def lineage(studio: Studio, user: User, artifact_id: str) -> dict[str, Any]:
    """The artifact, its job, the model, the training that made it and the dataset, each with id and hash."""
    with studio.db.reading() as session:
        artifact = access.readable(session, Artifact, artifact_id, user)
        job = session.get_one(Job, artifact.job_id)
        return {
            "artifact": {"id": artifact.id, "sha256": artifact.sha256},
            **lineage_of_job(session, job, user),
        }


def lineage_of_job(session: Session, job: Job, user: User) -> dict[str, Any]:
    """The job, the model it used, the training that made it and the dataset."""
    model = session.get(Model, job.model_id) if job.model_id else None
    training = session.get(Job, model.job_id) if model and model.job_id else None
    dataset_id = training.dataset_id if training else job.dataset_id
    dataset = session.get(Dataset, dataset_id) if dataset_id else None
    return {
        "job": _job(job, user),
        "model": _thing(model, user) if model else _known_model(job, user),
        "training_job": _job(training, user),
        "dataset": _thing(dataset, user),
    }


def read_lineage(session: Session, jobs: Collection[Job]) -> list[Any]:
    """What lineage_of_job() asks the session for, of many jobs at once; known to it as long as the rows are held."""

    def rows(table: Any, ids: Iterable[str | None]) -> list[Any]:
        return list(session.scalars(select(table).where(table.id.in_(set(ids) - {None}))))

    models = rows(Model, (job.model_id for job in jobs))
    trainings = rows(Job, (model.job_id for model in models))
    return [*models, *trainings, *rows(Dataset, (job.dataset_id for job in [*jobs, *trainings]))]


def _job(job: Job | None, user: User) -> dict[str, Any] | None:
    """The hash of a job is that of what decides its outcome."""
    if job is None:
        return None
    recipe = [job.kind, job.family, job.family_version, job.params, job.seed, job.model_sha256]
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    mine = job.user_id == user.id
    return {"id": job.id if mine else None, "sha256": digest, "seed": job.seed if mine else None}


def _thing(row: Model | Dataset | None, user: User) -> dict[str, Any] | None:
    """Of what another user made, the hash is told; the id only while it is shared."""
    if row is None:
        return None
    known = access.is_readable(row, user)
    return {
        "id": row.id if known else None,
        "sha256": row.sha256,
        "name": row.name if known else None,
    }


def _known_model(job: Job, user: User) -> dict[str, Any] | None:
    """The model's row is gone, but the job remembers what it used."""
    if not job.model_id:
        return None
    return {"id": job.model_id if job.user_id == user.id else None, "sha256": job.model_sha256}


def delete_artifact(studio: Studio, user: User, artifact_id: str, force: bool = False) -> None:
    """Raises InUse while an accepted job reads it; by force it is hidden, and its bytes go with the sweep."""
    with studio.db.writing() as session:
        row = access.own(session, Artifact, artifact_id, user)
        access.hold(session, Artifact, row.id, to_delete=True)
        readers = _readers(session, row)
        if readers and not force:
            raise InUse("Accepted jobs read this.", dependents=readers)
        row.deleted_at = clock(session)
        small = session.scalar(_thumbnail_of(row))
        if small:
            small.deleted_at = row.deleted_at  # the sweep takes its bytes
        # the job's answer changes with it, so must its ETag
        session.execute(
            update(Job)
            .where(Job.id == row.job_id)
            .values(version=Job.version + 1)
            .execution_options(synchronize_session=False)
        )
    if not readers:
        try:
            studio.storage.delete(row.location)
        except (OSError, Unavailable) as error:
            log.warning("a deleted artifact's file is left to the sweep: %s", error)


def _readers(session: Session, row: Artifact) -> list[dict[str, Any]]:
    jobs = session.execute(
        select(Job.id, Job.user_id).where(
            Job.state.in_(("queued", "running")), references.used(row.location)
        )
    )
    return access.told(row.user_id, "job", jobs)
