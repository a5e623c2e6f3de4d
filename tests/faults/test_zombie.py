"""Faults 12 and 14: a worker that was stopped for longer than its lease wakes up and must not win."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

import psutil
import pytest
from sqlalchemy import select, update

from shared import scheduling
from shared.models import Job, Model, Result
from tests.servers import wait_until

REFUSED = "is not published with the others: LeaseLost"


@pytest.fixture
def overrides():
    """main must let the zombie sleep; tests/faults/test_frozen.py is about those it kills."""
    return {"frozen_seconds": 600}


def stopped_without_a_lock(bench, process) -> bool:
    """One that sleeps in a transaction of SQLite keeps everybody else from writing."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED, 10, "the stop")
    kind, _, path = bench.settings.database.partition(":///")
    if kind != "sqlite":
        return True
    with closing(sqlite3.connect(path, timeout=0.1)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            return False
    return True


def stopped_before_its_publish(bench):
    """A worker whose child sleeps with a result at hand that it has not written, and whose lease is over."""
    job = bench.train(steps=10, step_seconds=0.02)
    # it stays there long enough to be stopped, and sleeps no longer than that if it is stopped for longer
    worker = bench.worker(failpoint="before_publish:sleep8:1")
    child = worker.child()
    wait_until(lambda: list(bench.storage.keys("models")), 60, "its result to be stored")
    wait_until(lambda: stopped_without_a_lock(bench, child), 10, "a moment between two writes")
    wait_until(lambda: bench.reap() or bench.job(job).state == "queued", what="the lease to end")
    return job, worker, child


def wake(bench, worker, child) -> None:
    """Waits until it has taken back what it had stored: the rows are looked at when it has done all that it does."""
    child.send_signal(signal.SIGCONT)
    worker.wait_log(REFUSED, 60)
    with bench.db.reading() as session:
        published = set(session.scalars(select(Model.location)))
    wait_until(lambda: stored_models(bench) == published, 60, "its model to be deleted")


def stored_models(bench) -> set[str]:
    return {stored.key.rpartition("/")[0] for stored in bench.storage.keys("models")}


def test_a_worker_that_wakes_up_after_its_lease_cannot_publish(bench):
    job, zombie, child = stopped_before_its_publish(bench)
    bench.worker("device-1")
    found = bench.wait(job, "succeeded", seconds=60)
    assert found.attempt == 2
    assert len(stored_models(bench)) == 2
    wake(bench, zombie, child)
    assert len(stored_models(bench)) == 1
    after = bench.job(job)
    assert (after.state, after.attempt, after.version) == ("succeeded", 2, found.version)


def test_a_worker_that_claims_its_own_job_again_refuses_the_old_attempt(bench):
    """The job is running, and its own again: the fence alone tells the old attempt from the new one."""
    job, worker, child = stopped_before_its_publish(bench)
    first = bench.job(job).fence
    (owner,) = bench.worker_ids()
    offer = scheduling.Offer(
        worker_id=owner,
        lanes=("train",),
        families={"sleep_steps": 1},
        limit=1,
        lease_seconds=600,
    )
    with bench.db.writing() as session:
        session.execute(update(Job).where(Job.id == job).values(not_before=None))
        assert [one.id for one in scheduling.claim(session, offer)] == [job]
    wake(bench, worker, child)
    assert not stored_models(bench)
    found = bench.job(job)
    assert (found.state, found.owner, found.attempt) == ("running", owner, 2)
    assert found.fence > first
    with bench.db.writing() as session:
        assert session.get(Result, job) is None
        session.execute(update(Job).where(Job.id == job).values(lease_until=1))
    assert bench.wait(job, seconds=60).attempt == 3
    assert bench.job(job).state == "succeeded"
