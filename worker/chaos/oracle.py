"""What must hold after every fault: asked of the database and the storage once nothing runs any more."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import redis
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.config import Settings
from shared.db import Database, clock
from shared.errors import AppError
from shared.jobs import FINAL
from shared.models import Artifact, Checkpoint, Job, JobEvent, Model, Result
from shared.storage import Storage
from worker import sweep

LEGAL = {
    "": {"queued"},
    "queued": {"running", "cancelled", "failed", "queued"},
    "running": {"running", "queued", *FINAL},
}
MOST_REDIS_KEYS = 30
GRACE_SECONDS = 30.0  # a lease that ended a moment ago is not looked at yet


@dataclass(frozen=True)
class Problem:
    """`kind` is lost, doubled, orphaned or illegal."""

    kind: str
    text: str


def problems(
    settings: Settings, db: Database, storage: Storage, valkey: redis.Redis | None = None
) -> list[Problem]:
    """Jobs, results, files, events and keys that are not as they must be."""
    found: list[Problem] = []
    with db.reading() as session:
        at = clock(session)
        for job in session.scalars(select(Job)).all():
            found += _of_state(job, at)
            found += _of_results(session, job)
            found += _of_events(session, job)
    found += file_problems(settings, db, storage)
    if valkey is not None:
        keys = list(valkey.scan_iter(match=f"{settings.redis_prefix}*", count=1000))
        if len(keys) >= MOST_REDIS_KEYS:
            found.append(Problem("orphaned", f"{len(keys)} keys in Redis: {keys[:5]}"))
    return found


def file_problems(settings: Settings, db: Database, storage: Storage) -> list[Problem]:
    """Every row has its file with the right hash; what has no row goes with the sweep, and nothing else."""
    found = list(_rows_without_file(db, storage))
    at_once = settings.model_copy(update={"keep_orphans_seconds": -1.0})
    sweep.sweep_files(at_once, db, storage)
    found += [p for p in _rows_without_file(db, storage) if p not in found]
    with db.reading() as session:
        known = set(session.scalars(select(Artifact.location)))
        known |= set(session.scalars(select(Checkpoint.location)))
        for model in session.scalars(select(Model)):
            known |= {f"{model.location}/{name}" for name in model.files}
    for prefix in ("artifacts", "checkpoints", "models"):
        for key in sorted({stored.key for stored in storage.keys(prefix)} - known):
            found.append(Problem("orphaned", f"file {key} has no row"))
    return found


def _of_state(job: Job, at: float) -> Iterator[Problem]:
    def broken(text: str) -> Problem:
        return Problem("illegal", f"job {job.id} is {job.state} {text}")

    if job.state not in FINAL | {"queued", "running"}:
        yield broken("and nothing that we know")
    if job.state == "running":
        if not (job.owner and job.lease_until and job.lease_until > at - GRACE_SECONDS):
            yield broken(f"without a lease (owner {job.owner}, until {job.lease_until})")
    elif job.owner is not None or job.lease_until is not None:
        yield broken(f"and held by {job.owner}")
    if job.state in FINAL and not job.finished_at:
        yield broken("without a time")
    if job.state == "failed" and not (job.error_code and job.error_message):
        yield broken("without a reason")


def _of_results(session: Session, job: Job) -> Iterator[Problem]:
    def count(table: type[Result] | type[Model]) -> int:
        rows = select(func.count()).select_from(table).where(table.job_id == job.id)
        return session.scalar(rows) or 0

    outputs = Counter(
        session.scalars(
            select(Artifact.index).where(Artifact.job_id == job.id, Artifact.role == "output")
        )
    )
    succeeded = job.state == "succeeded"
    wanted = range(int(job.params.get("count", 1))) if succeeded and job.kind == "generate" else ()
    there = {
        "results": (count(Result), int(succeeded)),
        "models": (count(Model), int(succeeded and job.kind == "train")),
        "outputs": (outputs.total(), len(wanted)),
    }
    for what, (have, want) in there.items():
        if have != want:
            kind = "doubled" if have > want else "lost"
            yield Problem(kind, f"job {job.id} is {job.state} with {have} {what}, not {want}")
    if outputs.total() == len(wanted) and set(outputs) != set(wanted):
        yield Problem("doubled", f"job {job.id} has the outputs {sorted(outputs.elements())}")


def _of_events(session: Session, job: Job) -> Iterator[Problem]:
    def broken(text: str) -> Problem:
        return Problem("illegal", f"the events of job {job.id}: {text}")

    events = session.scalars(
        select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.n)
    ).all()
    if [event.n for event in events] != list(range(1, job.version + 1)):
        yield broken("numbers are missing")
    state, fence = "", -1
    for event in (event for event in events if event.type == "state"):
        after = event.data["state"]
        if after not in LEGAL.get(state, set()):
            yield broken(f"{state} became {after}")
        if after == "running" and state == "queued" and event.data["fence"] <= fence:
            yield broken(f"fence {event.data['fence']} after {fence}")
        fence = max(fence, event.data.get("fence", fence))
        state = after
    if state != job.state:
        yield broken(f"they end with {state}, the job is {job.state}")
    if sum(event.type == "result" for event in events) != (job.state == "succeeded"):
        yield broken("results told")


def _rows_without_file(db: Database, storage: Storage) -> Iterator[Problem]:
    with db.reading() as session:
        hashes = [
            (location, sha256)
            for table in (Artifact, Checkpoint)
            for location, sha256 in session.execute(select(table.location, table.sha256))
        ]
        for model in session.scalars(select(Model)):
            hashes += [(f"{model.location}/{n}", f["sha256"]) for n, f in model.files.items()]
    for location, sha256 in hashes:
        try:
            with storage.open(location) as file:
                whole = hashlib.sha256(file.read()).hexdigest() == sha256
        except (OSError, AppError):
            whole = False
        if not whole:
            yield Problem("lost", f"file {location} is gone or not what its row says")
