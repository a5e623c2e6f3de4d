"""Estimates: the cost model alone, corrected by history, and what a run may teach."""

from __future__ import annotations

import math
import random

import pytest

from shared import estimates, jobs
from shared.db import clock
from shared.estimates import Work
from shared.jobs import NewJob, Outcome
from shared.models import Job, User, Worker
from tests.shared.test_scheduling import claim

BUILD = {"device": "cpu", "device_name": "Slow One", "threads": 2}
SLOW = BUILD | {"flops_per_second": 1e10}
QUICK = {"device": "cuda:0", "device_name": "Fast One", "threads": 8, "flops_per_second": 1e13}


def work(flops=1e9, steps=100.0, **changes):
    cost = {"flops": flops, "steps": steps}
    return Work(**{"family": "f", "version": 1, "kind": "train", "cost": cost, **changes})


def a_worker(facts, **families):
    return Worker(id="w", kind="device", facts=facts, families=families or {"f": 1})


@pytest.fixture
def people(db):
    with db.writing() as session:
        session.add(User(id="ann", name="ann", created_at=clock(session)))
    return db


def ran(db, seconds, flops=1e9, steps=100.0, build=BUILD, beside=(), used=0.0, **changes):
    """A job that was accepted, ran for `seconds` and succeeded; its row."""
    plain = {"kind": "train", "family": "f", "family_version": 1, "params": {}, "seed": 7}
    with db.writing() as session:
        new = NewJob(
            user_id="ann",
            lane="train",
            cost={"flops": flops, "steps": steps},
            **{**plain, **changes},
        )
        job_id = jobs.accept(session, new).id
    [(_, lease)] = claim(db)
    with db.writing() as session:
        session.get(Job, job_id).started_at = clock(session) - seconds
        session.flush()
        outcome = Outcome(build=build, beside=frozenset(beside), seconds=used)
        jobs.succeed(session, lease, outcome)
    with db.reading() as session:
        return session.get(Job, job_id)


def estimate(db, asked, *workers):
    with db.reading() as session:
        return estimates.estimate(session, asked, workers or [a_worker(SLOW)])


def test_without_history_the_cost_model_speaks(people):
    found = estimate(people, work())
    assert found.basis == "cost model"
    assert found.seconds == pytest.approx(0.2 + 100 * 1e-3 + 1e9 / 1e10)
    assert found.low < found.seconds < found.high


def test_the_fastest_worker_that_can_do_it_is_asked(people):
    slow, quick = a_worker(SLOW), a_worker(QUICK)
    assert (
        estimate(people, work(1e12), slow, quick).seconds
        < estimate(people, work(1e12), slow).seconds
    )
    # one that lacks the family does not count
    other = a_worker(QUICK, g=1)
    assert (
        estimate(people, work(1e12), slow, other).seconds
        == estimate(people, work(1e12), slow).seconds
    )


def test_history_corrects_the_estimate_within_its_key(people):
    before = estimate(people, work())
    for _ in range(6):
        ran(people, 4.0)
    after = estimate(people, work())
    assert after.basis == "history of 6 jobs"
    assert after.seconds == pytest.approx(4.0, rel=0.2)
    assert math.log(after.high / after.low) < math.log(before.high / before.low)
    for other in (work(kind="generate"), work(version=2), work(family="g")):
        assert estimate(people, other).basis == "cost model"
    assert estimate(people, work(), a_worker(QUICK)).basis == "cost model"


def test_overhead_steps_and_work_are_told_apart():
    """The bar of the bench in small: 80 % within a factor of 1.5 after twenty jobs of a kind."""
    dice = random.Random(1)
    points, hits = (), 0
    for n in range(60):
        flops, steps = 10 ** dice.uniform(7, 11), float(dice.randint(1, 2000))
        seconds = (1.5 + 6e-3 * steps + flops / 4e9) * math.exp(dice.gauss(0, 0.1))
        logs, _ = estimates.fit(points, 2e10)
        predicted = math.exp(logs[0]) + steps * math.exp(logs[1]) + flops * math.exp(logs[2])
        hits += n >= 20 and abs(math.log(predicted / seconds)) < math.log(1.5)
        points = ((flops, steps, seconds), *points)[:60]
    assert hits >= 36


def test_one_wild_run_moves_little(people):
    for _ in range(8):
        ran(people, 2.0)
    ran(people, 200.0)
    assert estimate(people, work()).seconds == pytest.approx(2.0, rel=0.35)


def test_unknown_stays_unknown_until_history_knows(people):
    assert estimate(people, work(flops=None)).basis == "unknown"
    free = work(cost={"steps": 10.0})  # a family that prices nothing
    assert estimate(people, free).seconds is None
    for _ in range(3):
        ran(people, 3.0, flops=None, steps=10.0)
    assert estimate(people, free).seconds == pytest.approx(3.0, rel=0.3)


def test_endless_work_is_endless_whatever_history_says(people):
    ran(people, 1.0)
    for cost in ({"flops": math.inf}, {"flops": 1.0, "steps": math.inf}, {"steps": math.inf}):
        assert estimate(people, work(cost=cost)).seconds == math.inf


def test_nonsense_in_history_breaks_nothing(people):
    for seconds, flops, steps in ((0.0, 0.0, 0.0), (-5.0, 1e300, 0.0), (1e9, 1e-300, 1e15)):
        ran(people, seconds, flops, steps)
    found = estimate(people, work())
    assert math.isfinite(found.seconds)
    assert found.seconds > 0


def test_only_runs_that_can_tell_teach(people):
    assert ran(people, 5.0).run_seconds == pytest.approx(5.0, abs=0.5)
    assert ran(people, 5.0).device == "cpu Slow One x2"
    # beside others a training's device-seconds count, and so do those of a generation beside a training
    assert ran(people, 5.0, beside=["generate"], used=2.0).run_seconds == 2.0
    alone = ran(people, 5.0, beside=["train"], used=2.0, kind="generate")
    assert alone.run_seconds == 2.0
    shared = ran(people, 5.0, beside=["generate"], used=2.0, kind="generate")
    assert shared.run_seconds is None


def test_a_job_that_began_twice_teaches_nothing(people):
    with people.writing() as session:
        new = NewJob(
            user_id="ann",
            lane="train",
            kind="train",
            family="f",
            family_version=1,
            params={},
            seed=1,
        )
        job_id = jobs.accept(session, new).id
    [(_, lease)] = claim(people)
    with people.writing() as session:
        jobs.give_back(session, lease, "drain")
    [(_, lease)] = claim(people)
    with people.writing() as session:
        assert jobs.succeed(session, lease, Outcome(seconds=1.0)).id == job_id
    with people.reading() as session:
        assert session.get(Job, job_id).run_seconds is None
