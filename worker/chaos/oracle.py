"""What must hold after every fault: asked of the database and the storage once nothing runs any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import redis
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.config import Settings
from shared.db import Database, clock
from shared.jobs import FINAL
from shared.models import Artifact, Job, JobEvent, Model, Result
from shared.storage import Storage
from worker.chaos import files
from worker.chaos.problem import Problem

LEGAL = {
    "": {"queued"},
    "queued": {"running", "cancelled", "failed"},
    "running": {"queued", *FINAL},
}
# An event with one of these tells of a wish: the state stays, and so does who holds the job.
WISHES = {"cancel_requested": {"running"}, "paused": {"queued", "running"}}
MOST_REDIS_KEYS = 30
MOST_REDIS_ENTRIES = 30  # of one key; a lane's queue holds a wake-up for each ten seconds at most
GRACE_SECONDS = 30.0  # a lease that ended a moment ago is not looked at yet


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
    found += files.problems(settings, db, storage)
    if valkey is not None:
        found += redis_problems(settings, valkey)
    return found


def redis_problems(settings: Settings, valkey: redis.Redis) -> list[Problem]:
    """Messages and marks must not pile up, in many keys or in one."""
    keys = list(valkey.scan_iter(match=f"{settings.redis_prefix}*", count=1000))
    if len(keys) >= MOST_REDIS_KEYS:
        return [Problem("orphaned", f"{len(keys)} keys in Redis: {keys[:5]}")]
    sizes = {key: _entries_of(valkey, key) for key in keys}
    return [
        Problem("orphaned", f"{size} entries in the key {key!r} of Redis")
        for key, size in sizes.items()
        if size >= MOST_REDIS_ENTRIES
    ]


def _entries_of(valkey: redis.Redis, key: bytes) -> int:
    kind = valkey.type(key)
    counts: dict[bytes | str, Callable[[bytes], int]] = {
        b"list": valkey.llen,
        b"set": valkey.scard,
        b"zset": valkey.zcard,
        b"hash": valkey.hlen,
    }
    return counts[kind](key) if kind in counts else 1


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
        data = event.data
        after, then = data["state"], data.get("fence", 0)  # the first has none
        wishes = WISHES.keys() & data.keys()
        if wishes:
            if after != state or then != fence or any(after not in WISHES[w] for w in wishes):
                yield broken(f"{state} {fence} became {after} {then} by {sorted(wishes)}")
        elif after not in LEGAL.get(state, set()):
            yield broken(f"{state} became {after}")
        elif then <= fence:
            yield broken(f"fence {then} after {fence}")
        state, fence = after, max(fence, then)
    if state != job.state:
        yield broken(f"they end with {state}, the job is {job.state}")
    if sum(event.type == "result" for event in events) != (job.state == "succeeded"):
        yield broken("results told")
