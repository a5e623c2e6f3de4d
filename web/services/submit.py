"""Checks a job before it is accepted: family, ids, parameters, rules, price. Writes nothing."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import catalog, checkpoints, estimates
from shared.errors import AppError, Conflict, InvalidInput, NotFound, TooExpensive
from shared.job_records import NewJob
from shared.models import Dataset, Job, Model, Result, User, Worker
from shared.moments import long_words
from shared.params import check_rules, clean, price
from web.requests import JobRequest
from web.services import access, families, references
from web.services.studio import Studio

Problem = dict[str, str]

INTERACTIVE_SECONDS = 60.0
SMALL_COUNT = 64
SEED_BITS = 53
NOT_HERE = "is not here, or not yours to use"


@dataclass(frozen=True)
class Plan:
    """A job that may be accepted."""

    new_job: NewJob
    prices: dict[str, float | None] = field(default_factory=dict)
    estimate: estimates.Estimate = field(default_factory=estimates.Estimate)


@dataclass(frozen=True)
class _Subject:
    """What a job is about, as far as it is known."""

    family: dict[str, Any]
    dataset: Dataset | None = None
    model: Model | None = None
    schema: dict[str, Any] | None = None  # the model's own

    def facts(self) -> dict[str, Any]:
        source = self.model or self.dataset
        return dict(source.facts or {}) if source else {}


def plan(
    session: Session, studio: Studio, user: User, body: JobRequest, steps_done: int | None = None
) -> Plan:
    """What POST /jobs would accept; of a training that goes on from a step, the rest is priced.

    Raises InvalidInput, NotFound, KindUnavailable or TooExpensive.
    """
    _sound_family_needed(session, body)
    parent = _parent(session, user, body)
    subject = _subject(session, user, body, parent)
    action = families.action_of(session, subject.family, body.kind)
    schema = subject.schema or action["schema"]
    params, problems = clean(schema, body.params)
    facts = {**subject.facts(), **params}
    problems = problems or check_rules(action["rules"], facts)
    inputs: dict[str, Any] = {}
    if not problems:
        inputs, problems = references.resolve(session, user, schema, params)
    if problems:
        raise InvalidInput(errors=problems)
    prices = price(action["cost"], facts)
    if steps_done is not None and prices.get("flops") is not None:
        before = price(action["cost"], {**facts, "steps": steps_done}).get("flops")
        prices["flops"] = max(0.0, (prices["flops"] or 0.0) - (before or 0.0))
    cost = estimates.cost_of(prices, body.kind, params)
    if steps_done is not None and cost.get("steps") is not None:
        cost["steps"] = max(0.0, (cost["steps"] or 0.0) - steps_done)
    workers = catalog.live_workers(session)
    name, version = subject.family["name"], subject.family["version"]
    estimate = estimates.estimate(session, estimates.Work(name, version, body.kind, cost), workers)
    _check_price(studio, workers, prices.get("bytes"), estimate.seconds)
    model = subject.model
    new_job = NewJob(
        user_id=user.id,
        kind=body.kind,
        family=name,
        family_version=version,
        name=body.name,
        params=params,
        seed=secrets.randbits(SEED_BITS) if body.seed is None else body.seed,
        lane=_lane(body.kind, estimate.seconds, params),
        priority=body.priority,
        estimate_seconds=estimate.seconds,
        cost=cost,
        dataset_id=subject.dataset.id if subject.dataset else None,
        model_id=model.id if model else None,
        model_sha256=model.sha256 if model else "",
        inputs=inputs,
        waits_for=parent.id if parent else None,
        deadline_seconds=body.deadline_seconds,
        progress_total=params.get("steps", 0) if body.kind == "train" else 0,
    )
    return Plan(new_job, prices, estimate)


def still_there(session: Session, user: User, new: NewJob) -> None:
    """Said again in the transaction that accepts: what the job uses was not deleted meanwhile, nor will be."""
    if new.dataset_id:
        _held(session, Dataset, new.dataset_id, user, "/dataset_id")
    if new.model_id:
        _held(session, Model, new.model_id, user, "/model_id")
    if new.continues and not checkpoints.hold(session, new.continues, new.continues_step or 0):
        raise Conflict("The checkpoint to go on from is not kept any more.")
    references.still_there(session, user, new.params, new.inputs)


def copy_of(job: Job) -> NewJob:
    """The same job again, for a retry: same seed, same parameters, same versions."""
    names = (
        "user_id kind family family_version name params seed lane priority estimate_seconds cost "
        "dataset_id model_id model_sha256 inputs waits_for continues continues_step"
    ).split()
    new = NewJob(**{name: getattr(job, name) for name in names})
    total = job.params.get("steps", 0) if job.kind == "train" else 0
    deadline = job.deadline_at - job.created_at if job.deadline_at else None
    return replace(
        new,
        retry_of=job.id,
        progress_total=total,
        progress_step=job.continues_step or 0,
        checkpoint_step=job.continues_step or 0,
        deadline_seconds=deadline,
    )


# ---- what the job is about ------------------------------------------------------------------------


def _sound_family_needed(session: Session, body: JobRequest) -> None:
    """A kind that nobody offers is refused first, whatever else is wrong."""
    if body.kind in ("train", "generate"):
        return
    offered = {kind for family in catalog.families(session) for kind in family["actions"]}
    if body.kind not in offered:
        families.action_of(session, None, body.kind)


def _parent(session: Session, user: User, body: JobRequest) -> Job | None:
    if body.waits_for is None:
        return None
    try:
        parent = access.own(session, Job, body.waits_for, user)
    except NotFound as error:
        raise _at(error, "/waits_for", "is not a job of yours") from None
    if parent.state in ("failed", "cancelled"):
        _refuse("/waits_for", f"has {parent.state} already")
    return parent


def _subject(session: Session, user: User, body: JobRequest, parent: Job | None) -> _Subject:
    if body.kind == "generate":
        return _generation(session, user, body, parent)
    if body.model_id is not None:
        _refuse("/model_id", f"is not used by {body.kind}")
    if body.family is None:
        _refuse("/family", "is required")
    family = families.announced(session, body.family)
    if body.dataset_id is None:
        if family["dataset_kind"]:
            _refuse("/dataset_id", "is required")
        return _Subject(family)
    dataset = _found(session, Dataset, body.dataset_id, user, "/dataset_id")
    _check_dataset(dataset, family)
    return _Subject(family, dataset=dataset)


def _generation(session: Session, user: User, body: JobRequest, parent: Job | None) -> _Subject:
    model = _model(session, user, body, parent)
    if body.dataset_id is not None:
        _refuse("/dataset_id", "is not used by generate")
    if model is not None:
        if body.family not in (None, model.family):
            _refuse("/family", f"is not the model's, which is {model.family}")
        family = families.announced(session, model.family)
        return _Subject(family, model=model, schema=model.generate_schema or None)
    name = body.family or (parent.family if parent else None)
    if name is None:
        _refuse("/model_id", "is required")
    family = families.announced(session, name)
    if parent is not None:
        if parent.kind != "train" or parent.family != name:
            _refuse("/waits_for", f"is not a training of {name}, and model_id is missing")
    elif "train" in family["actions"]:
        _refuse("/model_id", "is required")
    return _Subject(family)


def _model(session: Session, user: User, body: JobRequest, parent: Job | None) -> Model | None:
    if body.model_id is not None:
        return _found(session, Model, body.model_id, user, "/model_id")
    if parent is None or parent.kind != "train" or parent.state != "succeeded":
        return None
    made = session.scalar(select(Result.model_id).where(Result.job_id == parent.id))
    return _found(session, Model, made, user, "/waits_for") if made else None


def _found(
    session: Session, table: type[access.Shareable], row_id: str, user: User, pointer: str
) -> access.Shareable:
    try:
        return access.readable(session, table, row_id, user)
    except NotFound as error:
        raise _at(error, pointer, NOT_HERE) from None


def _held(
    session: Session, table: type[access.Shareable], row_id: str, user: User, pointer: str
) -> None:
    try:
        access.hold(session, table, row_id)
    except NotFound as error:
        raise _at(error, pointer, NOT_HERE) from None
    _found(session, table, row_id, user, pointer)


def _check_dataset(dataset: Dataset, family: dict[str, Any]) -> None:
    if dataset.state == "checking":
        _refuse("/dataset_id", "is still being checked")
    if dataset.state != "ready":
        _refuse("/dataset_id", "was refused when it was checked")
    if family["dataset_kind"] and dataset.kind != family["dataset_kind"]:
        _refuse(
            "/dataset_id", f"holds {dataset.kind}; {family['name']} needs {family['dataset_kind']}"
        )
    rules = [[expression, "dataset_id", message] for expression, message in family["accepts"]]
    if problems := check_rules(rules, dataset.facts, pointer=""):
        raise InvalidInput(errors=problems)


# ---- what it costs -------------------------------------------------------------------------------


def _check_price(
    studio: Studio, workers: list[Worker], needed: float | None, estimate: float | None
) -> None:
    most = studio.settings.max_job_seconds
    if estimate is not None and not estimate <= most:
        text = f"It would take about {long_words(estimate)}; {long_words(most)} are allowed."
        raise TooExpensive(text, [{"pointer": "/params", "message": "asks for too much work"}])
    memory = max((float(worker.facts.get("memory_bytes") or 0) for worker in workers), default=0)
    # a worker that has not said how much it has may have enough; nobody has infinitely much
    if needed is not None and not needed <= (memory or sys.float_info.max):
        size = f"about {needed / 1e9:,.1f} GB of memory" if needed < 1e18 else "endless memory"
        text = f"It would need {size}; no worker has that much."
        raise TooExpensive(text, [{"pointer": "/params", "message": "asks for too much memory"}])


def _lane(kind: str, estimate: float | None, params: dict[str, Any]) -> str:
    if kind != "generate":
        return "train"
    if estimate is None:
        return "interactive" if params.get("count", 1) <= SMALL_COUNT else "batch"
    return "interactive" if estimate <= INTERACTIVE_SECONDS else "batch"


# ---- refusals ------------------------------------------------------------------------------------


def _refuse(pointer: str, message: str) -> NoReturn:
    raise InvalidInput(errors=[{"pointer": pointer, "message": message}])


def _at(error: AppError, pointer: str, message: str) -> AppError:
    error.facts["errors"] = [{"pointer": pointer, "message": message}]
    return error
