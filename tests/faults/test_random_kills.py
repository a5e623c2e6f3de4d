"""Fault 24: whole workers killed at random moments, one after the other, and at the end one that is left alone."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from tests.servers import wait_until

ROUNDS = 20
# Of it some two seconds go by before a worker claims anything: some die before, most die at work.
LONGEST_LIFE_SECONDS = 5.0
NAMES = (
    "device-0",
    "device-1",
)  # some come back under their name, others find what another one left


@pytest.fixture
def overrides():
    # each loss doubles the wait for the next attempt, and a job may have nine of them
    return {"backoff_seconds": 0.05}


def live(worker, seconds: float) -> None:
    until = time.monotonic() + seconds

    def is_over() -> bool:
        worker.look()  # none of its processes may outlive it
        return time.monotonic() > until

    wait_until(is_over, what="the end of its life")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_deaths_at_random_moments_lose_and_double_nothing(bench):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    trainings, generations = [], []
    for _ in range(ROUNDS):
        worker = bench.worker(draw.choice(NAMES))
        trainings.append(bench.train(steps=20, step_seconds=0.05))
        generations += [bench.generate(count=2, steps=20, step_seconds=0.05) for _ in range(2)]
        live(worker, draw.uniform(0, LONGEST_LIFE_SECONDS))
        worker.kill_group()
    bench.worker("calm")
    found = [bench.wait(job, seconds=300) for job in trainings + generations]
    attempts = Counter(job.attempt for job in found)
    print(f"attempts {sorted(attempts.items())}")
    assert max(attempts) > 1, "no kill hit a job"
    failed = [job for job in found if job.state != "succeeded"]
    # what lost its worker ten times without a checkpoint between is not tried again
    assert {(job.state, job.error_code) for job in failed} <= {("failed", "worker_lost")}
    assert len(failed) <= len(found) / 10
    for job in found:
        if job.kind == "train" and job.state == "succeeded":
            assert bench.seen(job.id) == list(range(1, 21))
