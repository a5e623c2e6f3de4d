"""What must hold after every fault, whatever it was: called at the end of each fault test."""

from __future__ import annotations

import hashlib

from sqlalchemy import func, select

from shared.db import clock
from shared.models import Artifact, Checkpoint, Job, JobEvent, Model, Result
from worker import sweep

FINAL = {"succeeded", "failed", "cancelled"}
LEGAL = {
    None: {"queued"},
    "queued": {"running", "cancelled", "failed", "queued"},
    "running": {"running", "queued", *FINAL},
}
MOST_REDIS_KEYS = 30


def check(work, valkey=None) -> None:
    """Jobs, results, files, events and keys are all as they must be."""
    with work.db.reading() as session:
        jobs = session.scalars(select(Job)).all()
        at = clock(session)
        for job in jobs:
            _check_state(job, at)
            _check_results(session, job)
            _check_events(session, job)
    check_files(work)
    if valkey is not None:
        with valkey.client() as client:
            keys = client.keys(f"{work.settings.redis_prefix}*")
            assert len(keys) < MOST_REDIS_KEYS, keys


def _check_state(job, at) -> None:
    assert job.state in FINAL | {"queued", "running"}
    if job.state == "running":
        assert job.owner and job.lease_until and job.lease_until > at - 30
    else:
        assert job.owner is None and job.lease_until is None
    if job.state in FINAL:
        assert job.finished_at
    if job.state == "failed":
        assert job.error_code and job.error_message


def _check_results(session, job) -> None:
    found = session.scalar(select(func.count()).where(Result.job_id == job.id))
    assert found == (1 if job.state == "succeeded" else 0), (job.state, found)
    outputs = session.scalars(
        select(Artifact).where(Artifact.job_id == job.id, Artifact.role == "output")
    ).all()
    if job.state != "succeeded":
        assert not outputs
    elif job.kind == "generate":
        assert sorted(row.index for row in outputs) == list(range(job.params.get("count", 1)))
    models = session.scalar(select(func.count()).where(Model.job_id == job.id))
    assert models == (1 if job.state == "succeeded" and job.kind == "train" else 0)


def _check_events(session, job) -> None:
    events = session.scalars(
        select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.n)
    ).all()
    assert [event.n for event in events] == list(range(1, job.version + 1))
    state, fence, results = None, -1, 0
    for event in events:
        results += event.type == "result"
        if event.type != "state":
            continue
        after = event.data["state"]
        assert after in LEGAL[state], f"{state} -> {after}"
        if after == "running" and state == "queued":
            assert event.data["fence"] > fence
        fence = max(fence, event.data.get("fence", fence))
        state = after
    assert state == job.state
    assert results == (job.state == "succeeded")


def check_files(work) -> None:
    """Every row has its file with the right hash; what has no row goes with the sweep, and nothing else."""
    _check_rows(work)
    at_once = work.settings.model_copy(update={"keep_orphans_seconds": -1.0})
    sweep.sweep_files(at_once, work.db, work.storage)
    _check_rows(work)
    with work.db.reading() as session:
        known = set(session.scalars(select(Artifact.location)))
        known |= set(session.scalars(select(Checkpoint.location)))
        for model in session.scalars(select(Model)):
            known |= {f"{model.location}/{name}" for name in model.files}
    for prefix in ("artifacts", "checkpoints", "models"):
        lost = {stored.key for stored in work.storage.keys(prefix)} - known
        assert not lost, lost


def _check_rows(work) -> None:
    with work.db.reading() as session:
        hashes = [
            (row.location, row.sha256)
            for table in (Artifact, Checkpoint)
            for row in session.scalars(select(table))
        ]
        for model in session.scalars(select(Model)):
            hashes += [(f"{model.location}/{n}", f["sha256"]) for n, f in model.files.items()]
    for location, sha256 in hashes:
        with work.storage.open(location) as file:
            assert hashlib.sha256(file.read()).hexdigest() == sha256, location
