"""Faults 12 and 14: a worker that was stopped for longer than its lease wakes up and must not win."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy.exc import OperationalError

from tests.servers import wait_until
from tests.work import is_alive


@pytest.fixture
def overrides():
    """main must let the zombie sleep; tests/faults/test_frozen.py is about those it kills."""
    return {"frozen_seconds": 600}


def stop_between_writes(bench, processes) -> None:
    """Stops them where none of them holds a lock of the database, which would keep everybody else from writing."""

    def stopped() -> bool:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            bench.reap()
        except OperationalError:
            for process in processes:
                process.send_signal(signal.SIGCONT)
            return False
        return True

    wait_until(stopped, 60, "a moment between two writes")


def test_a_worker_that_wakes_up_after_its_lease_cannot_publish(bench):
    job = bench.train(steps=40, step_seconds=0.05)
    zombie = bench.worker()
    bench.wait_step(job, 5)
    stopped = [zombie.child(), zombie.runner()]
    stop_between_writes(bench, stopped)
    bench.worker("device-1")
    found = bench.wait(job, "succeeded", seconds=60)
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    wait_until(lambda: not is_alive(stopped[1]), what="the zombie's runner to be killed")
    after = bench.job(job)
    assert (after.state, after.version) == ("succeeded", found.version)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_that_claims_its_own_job_again_refuses_the_old_attempt(bench):
    job = bench.train(steps=100, step_seconds=0.05)
    worker = bench.worker()
    bench.wait_step(job, 5)
    child = worker.child()
    stop_between_writes(bench, [child])
    before = bench.job(job).fence
    wait_until(lambda: bench.reap() or bench.job(job).state == "queued", what="the lease to end")
    child.send_signal(signal.SIGCONT)
    found = bench.wait(job, "succeeded", seconds=60)
    assert found.attempt == 2
    assert found.fence > before + 1
