"""Jobs as people use them: submit, look, list, cancel, pause, resume, retry, delete."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared import jobs as states
from shared import waiting
from shared.db import NOW, clock
from shared.errors import (
    AlreadyEnded,
    Conflict,
    InUse,
    InvalidInput,
    KeyReused,
    NotFound,
    Unavailable,
)
from shared.job_records import NewJob
from shared.models import Artifact, IdempotencyKey, Job, User
from web.requests import JobRequest
from web.services import access, references, room, shown, submit
from web.services.curves import job_metrics
from web.services.events import job_events, job_log, job_previews, latest_events
from web.services.job_lists import Filters, list_jobs
from web.services.shapes import finite, queue_shape
from web.services.studio import Studio

__all__ = [
    "Filters",
    "Submitted",
    "cancel_job",
    "delete_job",
    "get_job",
    "job_events",
    "job_log",
    "job_metrics",
    "job_previews",
    "latest_events",
    "list_jobs",
    "pause_job",
    "resume_job",
    "retry_job",
    "submit_job",
    "wait_for_news",
]

KEY = re.compile(r"[\x21-\x7e]{1,255}")
# Asked by every poll, so it is put together once; access.own() is the same rule for whole rows.
TAG = select(Job.version, Job.state, NOW.label("at")).where(
    Job.id == bindparam("job_id"), Job.user_id == bindparam("user_id"), Job.deleted_at.is_(None)
)

# How often a queued job's tag changes by itself: its place in the queue moves without the row.
PLACE_SECONDS = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submitted:
    """A job that was accepted, or checked only (dry run: `job` holds the estimate)."""

    job: dict[str, Any]
    replayed: bool = False
    text: str = ""  # the job as JSON, byte for byte what the first answer held


def submit_job(
    studio: Studio, user: User, body: JobRequest, key: str | None = None, dry_run: bool = False
) -> Submitted:
    """Accepts a job, once for each key. Raises all that web/services/submit.py refuses, StorageFull,
    QuotaExceeded and KeyReused.
    """
    if dry_run:
        room.check_disk(studio)
        with studio.db.reading() as session:
            room.check_held(session, studio, user)
            planned = submit.plan(session, studio, user, body)
            return Submitted(_dry(planned, waiting.place_of_new(session, planned.new_job)))
    asked = body.model_dump(exclude_unset=True)
    return accept_once(
        studio, user, key, asked, lambda session: submit.plan(session, studio, user, body).new_job
    )


def accept_once(
    studio: Studio,
    user: User,
    key: str | None,
    asked: dict[str, Any],
    make: Callable[[Session], NewJob],
) -> Submitted:
    """Accepts what `make` makes, once for each key; `asked` is what must be the same for a replay."""
    digest = _digest(asked)
    if key is not None:
        _check_key(key)
        with studio.db.reading() as session:
            if replay := _replay(session, user, key, digest):
                return replay
    room.check_disk(studio)
    with studio.db.reading() as session:
        room.check_held(session, studio, user)
        new = make(session)
        queue = shown.queue_of_new(session, new, studio.settings)
    return _accept(studio, user, new, queue, key, digest)


def retry_job(studio: Studio, user: User, job_id: str) -> Submitted:
    """The same job again as a new row. Raises Conflict while the first has not ended."""
    room.check_disk(studio)
    with studio.db.reading() as session:
        job = access.own(session, Job, job_id, user)
        room.check_held(session, studio, user)
        if job.state not in states.FINAL:
            raise Conflict("The job has not ended yet.")
        if job.waits_for:
            parent = session.get(Job, job.waits_for)
            if parent is None or parent.state in ("failed", "cancelled"):
                raise Conflict("The job that it waited for did not succeed.")
        new = submit.copy_of(job)
        queue = shown.queue_of_new(session, new, studio.settings)
    return _accept(studio, user, new, queue)


def _accept(
    studio: Studio,
    user: User,
    new: NewJob,
    queue: dict[str, Any],
    key: str | None = None,
    digest: str = "",
) -> Submitted:
    """The place in the queue was looked up before: that takes long where many wait, and one writes at a time."""
    settings = studio.settings
    new = replace(
        new,
        max_queued_jobs=settings.max_queued_jobs,
        max_device_seconds_a_day=settings.max_device_seconds_a_day,
    )
    try:
        with studio.db.writing() as session:
            if key and (replay := _replay(session, user, key, digest)):
                return replay
            submit.still_there(session, user, new)
            job = states.accept(session, new)
            # the lock on the quota row may have made us wait for a twin with the same key
            if key and (replay := _replay(session, user, key, digest)):
                session.rollback()
                return replay
            shape = shown.accepted(job, queue)
            text = json.dumps(shape, ensure_ascii=False)
            if key:
                session.add(_key_row(user, key, digest, job, text))
    except IntegrityError:
        with studio.db.reading() as session:
            replay = _replay(session, user, key, digest) if key else None
        if replay is None:
            raise
        return replay
    studio.wakeups.wake(new.lane)
    return Submitted(shape, text=text)


def _key_row(user: User, key: str, digest: str, job: Job, text: str) -> IdempotencyKey:
    return IdempotencyKey(
        user_id=user.id,
        key=key,
        body_sha256=digest,
        job_id=job.id,
        response=text,
        created_at=job.created_at,
    )


def _replay(session: Session, user: User, key: str, digest: str) -> Submitted | None:
    row = session.scalar(
        select(IdempotencyKey).where(IdempotencyKey.user_id == user.id, IdempotencyKey.key == key)
    )
    if row is None:
        return None
    if row.body_sha256 != digest:
        raise KeyReused()
    return Submitted(json.loads(row.response), replayed=True, text=row.response)


def _check_key(key: str) -> None:
    if not KEY.fullmatch(key):
        message = "must have 1 to 255 printable characters, and no space"
        raise InvalidInput(
            f"Idempotency-Key {message}.", [{"pointer": "/Idempotency-Key", "message": message}]
        )


def _digest(asked: dict[str, Any]) -> str:
    text = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _dry(planned: submit.Plan, place: waiting.Place) -> dict[str, Any]:
    new, estimate = planned.new_job, planned.estimate
    return {
        "dry_run": True,
        "kind": new.kind,
        "family": new.family,
        "family_version": new.family_version,
        "params": finite(new.params),
        "lane": new.lane,
        "estimate_seconds": estimate.seconds,
        "estimate": {
            "seconds": estimate.seconds,
            "low": estimate.low,
            "high": estimate.high,
            "basis": estimate.basis,
            **planned.prices,
        },
        "queue": queue_shape(place),
    }


# ---- looking -------------------------------------------------------------------------------------


def get_job(studio: Studio, user: User, job_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    with studio.db.reading() as session:
        return shown.job(session, access.own(session, Job, job_id, user), studio.settings)


def job_tag(studio: Studio, user: User, job_id: str) -> tuple[int, str, str]:
    """(version, state, ETag): cheap enough to be asked at every poll. Raises NotFound."""
    with studio.db.glancing() as session:
        row = session.execute(TAG, {"job_id": job_id, "user_id": user.id}).one_or_none()
    if row is None:
        raise NotFound()
    # the place in the queue moves without the row: while queued the clock is part of the tag
    bucket = f".{int(row.at // PLACE_SECONDS)}" if row.state == "queued" else ""
    return row.version, row.state, f'"{row.version}{bucket}"'


def wait_for_news(
    studio: Studio, user: User, job_id: str, seen: int | None, seconds: float
) -> None:
    """Holds until the job's version is not `seen` (the present one if None), it has ended, or time is over.

    Returns at once when too many wait already: the caller polls then.
    """
    version, state, _ = job_tag(studio, user, job_id)
    if state in states.FINAL or (seen is not None and seen != version):
        return
    slot = studio.feed.slots.take(user.id)
    if slot is not None:
        try:
            studio.feed.wait(slot, job_id, version, seconds)
        finally:
            studio.feed.slots.give(slot)


# ---- changing ------------------------------------------------------------------------------------


def cancel_job(studio: Studio, user: User, job_id: str) -> dict[str, Any]:
    """Raises AlreadyEnded, with the job, when it ended otherwise."""
    with studio.db.writing() as session:
        job = access.own(session, Job, job_id, user)
        try:
            job = states.request_cancel(session, job.id)
        except AlreadyEnded as error:
            error.facts["job"] = shown.job(session, job, studio.settings)
            raise
        shape = shown.job(session, job, studio.settings)
    studio.wakeups.wake(job.lane)
    return shape


def pause_job(studio: Studio, user: User, job_id: str) -> dict[str, Any]:
    """Raises AlreadyEnded."""
    return _set_paused(studio, user, job_id, pausing=True)


def resume_job(studio: Studio, user: User, job_id: str) -> dict[str, Any]:
    """Raises AlreadyEnded."""
    return _set_paused(studio, user, job_id, pausing=False)


def _set_paused(studio: Studio, user: User, job_id: str, *, pausing: bool) -> dict[str, Any]:
    with studio.db.writing() as session:
        access.own(session, Job, job_id, user)
        job = (states.pause if pausing else states.resume)(session, job_id)
        shape = shown.job(session, job, studio.settings)
    studio.wakeups.wake(job.lane)
    return shape


def delete_job(studio: Studio, user: User, job_id: str, force: bool = False) -> None:
    """Hides the job and its artifacts; a running one is cancelled first. Raises InUse.

    The bytes of a job that has ended go at once, those of a running one with the sweep.
    """
    with studio.db.writing() as session:
        job = access.own(session, Job, job_id, user)
        if not force and (waiting := _waiting_for(session, job)):
            raise InUse("Other jobs wait for this one.", dependents=waiting)
        if job.state not in states.FINAL:
            job = _stopped(session, job)
        at = clock(session)
        ended = job.state in states.FINAL
        session.execute(update(Job).where(Job.id == job.id).values(deleted_at=at))
        session.execute(
            update(Artifact)
            .where(Artifact.job_id == job.id, Artifact.deleted_at.is_(None))
            .values(deleted_at=at)
        )
    studio.wakeups.wake(job.lane)
    if ended:
        _delete_files(studio, job)


def _stopped(session: Session, job: Job) -> Job:
    try:
        return states.request_cancel(session, job.id)
    except AlreadyEnded:
        return job  # it ended while we looked, which is just as well


def _waiting_for(session: Session, job: Job) -> list[dict[str, Any]]:
    """Jobs that would fail if this one were cancelled, that go on from it, or that read what it made."""
    active = Job.state.in_(("queued", "running"))
    needs = [Job.continues == job.id, references.used(f"artifacts/{job.id}/")]
    if job.state != "succeeded":
        needs.append(Job.waits_for == job.id)
    found = session.execute(select(Job.id, Job.user_id).where(active, or_(*needs)).order_by(Job.id))
    return access.told(job.user_id, "job", found)


def _delete_files(studio: Studio, job: Job) -> None:
    with studio.db.reading() as session:
        used = session.scalar(
            select(Job.id)
            .where(Job.state.in_(("queued", "running")), references.used(f"artifacts/{job.id}/"))
            .limit(1)
        )
    if used:
        return
    try:
        studio.storage.delete(f"artifacts/{job.id}")
    except (OSError, Unavailable) as error:
        log.warning("files of a deleted job are left to the sweep: %s", error)
