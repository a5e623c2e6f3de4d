"""Removes what nobody refers to any more: old rows, checkpoints of ended jobs, files without a row.

Rows go first and files after; a file is garbage only when it is older than a day and no row names it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import case, delete, exists, or_, select
from sqlalchemy.orm import Session

from shared import checkpoints
from shared.config import Settings
from shared.db import Database, clock
from shared.errors import NotFound
from shared.jobs import FINAL
from shared.models import (
    Artifact,
    Checkpoint,
    IdempotencyKey,
    Job,
    Model,
    ShortTask,
    Worker,
)
from shared.storage import LocalStorage
from worker.device_run import remove_tree

log = logging.getLogger(__name__)

DAY = 86_400.0
GRACE_SECONDS = DAY
GONE_WORKER_SECONDS = 7 * DAY
AT_ONCE = 500


def sweep_rows(settings: Settings, db: Database, storage: LocalStorage) -> None:
    """The cheap part: rows whose time is over."""
    with db.writing() as session:
        at = clock(session)
        for statement in (
            delete(IdempotencyKey).where(IdempotencyKey.created_at < at - DAY),
            delete(ShortTask).where(
                ShortTask.state.in_(("done", "failed")), ShortTask.finished_at < at - DAY
            ),
            delete(Worker).where(Worker.heartbeat_at < at - GONE_WORKER_SECONDS),
        ):
            session.execute(statement)
        stale = checkpoints.forget(
            session, _old_checkpoints(session, at, settings.keep_final_seconds)
        )
    for location in stale:
        storage.delete(location)


def _old_checkpoints(session: Session, at: float, keep_final: float) -> list[Checkpoint]:
    """Those of jobs that ended a day ago; the last state of a training that succeeded stays longer."""
    query = (
        select(Checkpoint)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(
            Job.state.in_(FINAL),
            Job.finished_at < at - case((checkpoints.is_final(), keep_final), else_=DAY),
            ~checkpoints.in_use(),
        )
        .limit(AT_ONCE)
    )
    return list(session.scalars(query))


def sweep_files(settings: Settings, db: Database, storage: LocalStorage) -> int:
    """Deletes files that no row needs; returns how many."""
    removed = 0
    for prefix, is_needed in NEEDED.items():
        for key in _old_keys(storage, prefix):
            with db.reading() as session:
                if is_needed(session, key):
                    continue
            _delete(storage, key)
            removed += 1
    if removed:
        log.info("swept %s files", removed)
    _sweep_runs(settings, db)
    return removed


def _old_keys(storage: LocalStorage, prefix: str) -> Iterator[str]:
    before = time.time() - GRACE_SECONDS
    return (key for key, changed in storage.keys(prefix) if changed < before)


def _delete(storage: LocalStorage, key: str) -> None:
    try:
        storage.delete(key)
    except NotFound:
        # half-written files have names that no key can have
        (storage.root / key).unlink(missing_ok=True)


def _artifact_needed(session: Session, key: str) -> bool:
    row = session.scalar(select(Artifact).where(Artifact.location == key))
    if row is None:
        return False
    return _is_fresh(session, row.deleted_at) or key in _inputs_in_use(session)


def _checkpoint_needed(session: Session, key: str) -> bool:
    return bool(session.scalar(select(exists().where(Checkpoint.location == key))))


def _model_needed(session: Session, key: str) -> bool:
    row = session.get(Model, key.split("/")[1])
    if row is None:
        return False
    used = Job.model_id == row.id
    if row.job_id:
        # a generation that waits for the training takes its model only when it is claimed
        used = or_(used, Job.waits_for == row.job_id)
    return _is_fresh(session, row.deleted_at) or _is_used(session, used)


NEEDED: dict[str, Callable[[Session, str], bool]] = {
    "artifacts": _artifact_needed,
    "checkpoints": _checkpoint_needed,
    "models": _model_needed,
}


def _is_fresh(session: Session, deleted_at: float | None) -> bool:
    return deleted_at is None or deleted_at > clock(session) - GRACE_SECONDS


def _is_used(session: Session, condition: Any) -> bool:
    """Whether a job that has not ended refers to it; jobs accepted before a deletion still run."""
    return bool(session.scalar(select(exists().where(condition, Job.state.not_in(FINAL)))))


def _inputs_in_use(session: Session) -> set[str]:
    rows = session.scalars(select(Job.inputs).where(Job.state.not_in(FINAL)))
    return {source["location"] for inputs in rows for source in (inputs or {}).values()}


def _sweep_runs(settings: Settings, db: Database) -> None:
    """Folders of runs whose workers did not come back."""
    before = time.time() - GRACE_SECONDS
    runs = settings.data.resolve() / "runs"
    for run in [*runs.glob("*/in/*.*"), *runs.glob("*/out/*.*")]:
        job_id, _, fence = run.name.partition(".")
        with suppress(FileNotFoundError):  # its worker has just removed it
            if run.lstat().st_mtime > before or not fence.isdigit():
                continue
        with db.reading() as session:
            job = session.get(Job, job_id)
            held = job is not None and job.state == "running" and job.fence == int(fence)
        if not held:
            remove_tree(run)
