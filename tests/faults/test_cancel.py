"""Faults 53, 54, 56: a cancel of a job that waits, runs, does not hear, lost its worker, or is just being claimed."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from shared import jobs, scheduling
from shared.db import Database
from tests.servers import wait_until
from tests.work import is_alive

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RACES = 500
HEAD_START_SECONDS = 0.01


def test_a_cancelled_job_that_waited_is_never_started(bench):
    job, child = bench.train(steps=3), bench.generate()
    for one in (job, child):
        bench.cancel(one)
        assert bench.job(one).state == "cancelled"
    bench.worker()
    assert bench.wait(bench.generate()).state == "succeeded"
    assert {(bench.job(one).state, bench.job(one).attempt) for one in (job, child)} == {
        ("cancelled", 0)
    }


@ONE_DATABASE
def test_a_job_that_waits_for_its_next_attempt_is_cancelled_at_once(make_bench):
    bench = make_bench(backoff_seconds=600)
    job = bench.train("poison_at", at=2)
    bench.worker()
    wait_until(lambda: bench.job(job).not_before, 60, "the wait after a strike")
    bench.cancel(job)
    found = bench.job(job)
    assert (found.state, found.attempt, found.not_before) == ("cancelled", 1, None)
    assert bench.wait(bench.generate()).state == "succeeded"
    assert bench.job(job).version == found.version


@pytest.mark.parametrize("kind", ["train", "generate"])
def test_a_running_job_is_cancelled_within_a_step(bench, kind):
    job = getattr(bench, kind)(steps=10_000, step_seconds=0.05)
    worker = bench.worker()
    bench.wait(job, "running")
    runner = worker.runner()
    wait_until(lambda: bench.job(job).version > 3, what="it to be stepped")
    bench.cancel(job)
    assert bench.wait(job, "cancelled", seconds=10).error_code is None
    assert is_alive(runner)


@ONE_DATABASE
def test_a_job_whose_runner_is_deaf_is_cancelled_by_force(bench):
    job = bench.train("deaf", at=3, seconds=600)
    worker = bench.worker()
    bench.wait(job, "running")
    runner = worker.runner()
    wait_until(lambda: bench.job(job).version > 2, what="it to be stepped")
    bench.cancel(job)
    assert bench.wait(job, seconds=20).state == "cancelled"
    assert not is_alive(runner)


def test_a_job_of_a_dead_worker_is_cancelled_with_its_lease(bench):
    """Nobody is there to ask: whoever reaps ends it, and it is not run again."""
    job = bench.train(steps=10_000, step_seconds=0.05)
    worker = bench.worker()
    bench.wait_step(job, 2)
    runner = worker.runner()
    worker.kill_group()
    bench.cancel(job)
    flagged = bench.job(job)
    assert flagged.cancel_requested_at and flagged.state in ("running", "cancelled")
    bench.worker("device-1")
    found = bench.wait(job, seconds=60)
    assert (found.state, found.attempt) == ("cancelled", 1)
    assert not is_alive(runner)


@pytest.mark.slow
def test_a_cancel_and_a_claim_at_one_moment_agree(bench):
    """Either it was never claimed, or its holder is told."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    other = Database(bench.settings.database)  # as another process has
    barrier, offer = (
        Barrier(2),
        scheduling.Offer(
            worker_id="racer",
            lanes=("interactive",),
            families={"sleep_steps": 1},
            limit=1,
            lease_seconds=600,
        ),
    )

    def claim(after):
        barrier.wait()
        time.sleep(after)
        with other.writing() as session:
            return scheduling.claim(session, offer)

    def cancel(job, after):
        barrier.wait()
        time.sleep(after)
        bench.cancel(job)

    outcomes = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(RACES):
            job = bench.generate()
            claimed = pool.submit(claim, draw.random() * HEAD_START_SECONDS)
            cancelled = pool.submit(cancel, job, draw.random() * HEAD_START_SECONDS)
            cancelled.result()
            found = bench.job(job)
            if claimed.result():
                assert (found.state, bool(found.cancel_requested_at)) == ("running", True)
                with bench.db.writing() as session:
                    lease = jobs.Lease(found.id, found.fence)
                    assert jobs.finish_cancel(session, lease)
            outcomes.append(bench.job(job).attempt)
            assert bench.job(job).state == "cancelled"
    other.dispose()
    assert set(outcomes) == {0, 1}, "one of the two always won: that is no race"
