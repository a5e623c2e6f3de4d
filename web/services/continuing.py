"""Checkpoints of a training: to look at, to go on from with more steps, and to make models of.

Both are new jobs that begin with a checkpoint of another one (DESIGN.md, "Going on"). A training that asks for no step
beyond it makes it into a model, between two steps of whatever else the device does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import checkpoints
from shared.errors import Conflict, InvalidInput, NotFound
from shared.job_records import NewJob
from shared.models import Checkpoint, Job, User
from shared.moments import rfc3339
from shared.outputs import newest_checkpoints
from web.requests import CheckpointModelRequest, ContinueRequest, JobRequest
from web.services import access, curves, submit
from web.services.jobs import Submitted, accept_once
from web.services.shapes import finite
from web.services.studio import Studio

LONGEST_NAME = 200


def list_checkpoints(studio: Studio, user: User, job_id: str) -> dict[str, Any]:
    """{"items": [{step, bytes, created_at, score, best, final, metrics}], "next": null}, the farthest first."""
    with studio.db.reading() as session:
        job = access.own(session, Job, job_id, user)
        rows = _one_for_each_step(newest_checkpoints(session, job.id))
        best = checkpoints.best(rows)
        final = set(
            session.scalars(
                select(Checkpoint.id)
                .join(Job, Job.id == Checkpoint.job_id)
                .where(Job.id == job.id, checkpoints.is_final())
            )
        )
        items = [
            {
                "step": row.step,
                "bytes": row.bytes,
                "created_at": rfc3339(row.created_at),
                "score": finite(row.score),
                "best": row is best,
                "final": row.id in final,
                "metrics": curves.values_at(session, job.id, row.step),
            }
            for row in rows
        ]
    return {"items": items, "next": None}


def continue_job(
    studio: Studio, user: User, job_id: str, body: ContinueRequest, key: str | None = None
) -> Submitted:
    """A succeeded training goes on with more steps, as a new job. Raises NotFound, Conflict, InvalidInput and what
    a submit raises."""

    def make(session: Session) -> NewJob:
        job = _training(session, user, job_id)
        if job.state != "succeeded":
            raise Conflict(f"Only a training that succeeded can go on; this one is {job.state}.")
        step = job.progress_step if body.checkpoint_step is None else body.checkpoint_step
        _kept(session, job, step)
        if body.steps is None:
            raise InvalidInput(errors=[{"pointer": "/steps", "message": "is required"}])
        if body.steps <= step:
            message = f"must be more than {step}, where it goes on"
            raise InvalidInput(errors=[{"pointer": "/steps", "message": message}])
        return _planned(session, studio, user, job, step, body.steps, body.name or job.name)

    asked = {"continue": job_id, **body.model_dump(exclude_unset=True)}
    return accept_once(studio, user, key, asked, make)


def make_model(
    studio: Studio,
    user: User,
    job_id: str,
    step: int,
    body: CheckpointModelRequest,
    key: str | None = None,
) -> Submitted:
    """A checkpoint becomes a model, as a short job. Raises NotFound, Conflict and what a submit raises."""

    def make(session: Session) -> NewJob:
        job = _training(session, user, job_id)
        _kept(session, job, step)
        suffix = f" at step {step}"
        name = body.name or (job.name or job.family)[: LONGEST_NAME - len(suffix)] + suffix
        new = _planned(session, studio, user, job, step, step, name)
        # not the lane of trainings: it need not wait for one that runs
        return replace(new, lane="interactive")

    asked = {"model_of": job_id, "step": step, **body.model_dump(exclude_unset=True)}
    return accept_once(studio, user, key, asked, make)


def _training(session: Session, user: User, job_id: str) -> Job:
    job = access.own(session, Job, job_id, user)
    if job.kind != "train":
        raise Conflict("Only a training has checkpoints.")
    return job


def _kept(session: Session, job: Job, step: int) -> None:
    if newest_checkpoints(session, job.id, step):
        return
    steps = sorted({row.step for row in newest_checkpoints(session, job.id)})
    kept = f"Kept: {', '.join(map(str, steps))}." if steps else "None of this training is kept."
    raise Conflict(f"There is no checkpoint at step {step} any more. {kept}")


def _planned(
    session: Session, studio: Studio, user: User, job: Job, step: int, steps: int, name: str
) -> NewJob:
    """The same training from this step to `steps`: checked as any job, priced for the steps that are left."""
    request = JobRequest(
        kind="train",
        family=job.family,
        dataset_id=job.dataset_id,
        params={**job.params, "steps": steps},
        seed=job.seed,
        priority=job.priority,
        name=name,
    )
    try:
        new = submit.plan(session, studio, user, request, steps_done=step).new_job
    except NotFound:
        raise Conflict("The dataset of this training is not here any more.") from None
    except InvalidInput as error:
        for problem in error.errors:  # of our body, where steps are no parameter
            problem["pointer"] = problem["pointer"].replace("/params/steps", "/steps")
        raise
    if new.family_version != job.family_version:
        raise Conflict(
            f"This training is of version {job.family_version} of {job.family}; "
            f"offered is version {new.family_version}."
        )
    return replace(
        new, continues=job.id, continues_step=step, progress_step=step, checkpoint_step=step
    )


def _one_for_each_step(rows: list[Checkpoint]) -> list[Checkpoint]:
    seen: dict[int, Checkpoint] = {}
    for row in rows:
        seen.setdefault(row.step, row)
    return list(seen.values())
