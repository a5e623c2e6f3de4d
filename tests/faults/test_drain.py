"""Faults 22-26: signals and kills of every process of a worker, in turn."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.servers import wait_until
from tests.work import MARK, is_alive

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DRAIN_LIMIT = 45
# By itself a training takes no checkpoint before its end: one that there is was made for what the test does.
UNASKED = {"checkpoint_seconds": 600}


def running_training(bench, **overrides):
    job = bench.train(steps=60, step_seconds=0.05, mark=MARK)
    worker = bench.worker(**overrides)
    bench.wait_step(job, 5)
    worker.look()
    return job, worker


@pytest.mark.parametrize(
    ("database_url", "how"),
    [
        ("sqlite", "main"),
        ("sqlite", "group"),
        ("sqlite", "main then quit"),
        ("postgresql", "main"),
    ],
    indirect=["database_url"],
)
def test_a_drain_checkpoints_gives_back_without_a_strike_and_exits_0(bench, how):
    job, worker = running_training(bench, **UNASKED)
    if how == "group":
        os.killpg(worker.process.pid, signal.SIGTERM)
    else:
        worker.term()
    if how == "main then quit":
        wait_until(lambda: "draining" in worker.log.read_text(), what="the drain to begin")
        worker.process.send_signal(signal.SIGQUIT)
    assert worker.wait(DRAIN_LIMIT) == 0
    worker.assert_nothing_left()
    found = bench.job(job)
    assert (found.state, found.strikes, found.losses) == ("queued", 0, 0)
    assert found.checkpoint_step >= 5
    second = bench.worker("device-1")
    assert bench.wait(job).state == "succeeded"
    bench.assert_resumed(job, second, found.checkpoint_step)


@ONE_DATABASE
def test_a_drain_gives_generations_back_at_once(bench):
    job = bench.generate(count=1, steps=10_000, step_seconds=0.05)
    worker = bench.worker()
    bench.wait(job, "running")
    wait_until(lambda: bench.events(job, "preview"), what="the first text")
    worker.term()
    assert worker.wait(DRAIN_LIMIT) == 0
    assert bench.job(job).state == "queued"


@ONE_DATABASE
def test_a_killed_main_takes_child_and_runner_with_it(bench):
    job, worker = running_training(bench)
    child, runner = worker.child(), worker.runner()
    worker.process.kill()
    worker.process.wait()
    wait_until(lambda: not is_alive(child) and not is_alive(runner), 5, "child and runner to end")
    bench.worker("device-1")
    assert bench.wait(job).state == "succeeded"


@ONE_DATABASE
def test_a_killed_child_is_replaced_and_its_runner_dies(bench):
    job, worker = running_training(bench)
    child, runner = worker.child(), worker.runner()
    child.kill()
    wait_until(lambda: not is_alive(runner), 5, "the runner to end")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)
    assert worker.child().pid != child.pid


def test_a_killed_runner_is_a_strike_and_the_job_resumes(bench):
    job = bench.train(steps=40, step_seconds=0.05, mark=MARK)
    worker = bench.worker()
    bench.wait_checkpoint(job)
    worker.runner().kill()
    wait_until(lambda: bench.job(job).attempt == 2, what="the second attempt")
    assert bench.wait(job).state == "succeeded"
    assert any(e.data.get("why") == "runner_killed" for e in bench.events(job, "state"))
    bench.assert_resumed(job, worker)


@ONE_DATABASE
def test_a_pause_frees_the_worker_and_a_resume_goes_on(bench):
    job, _ = running_training(bench, **UNASKED)
    bench.pause(job)
    found = bench.wait(job, "queued")
    assert found.paused_at and found.checkpoint_step >= 5 and not found.strikes
    other = bench.train(steps=3)
    assert bench.wait(other).state == "succeeded"
    assert bench.job(job).state == "queued"
    bench.resume(job)
    assert bench.wait(job).state == "succeeded"
    assert f"Continues from the checkpoint at step {found.checkpoint_step}." in bench.log_of(job)
    assert bench.seen(job) == list(range(1, 61))


@ONE_DATABASE
def test_an_asked_drain_stops_claims_until_it_is_withdrawn(bench):
    job, worker = running_training(bench)
    bench.ask_drain(True)
    bench.wait(job, "queued")
    assert bench.job(job).strikes == 0
    other = bench.generate()
    until = time.monotonic() + 10 * bench.settings.poll_seconds
    wait_until(lambda: time.monotonic() > until, what="ten looks into the queue")
    assert {bench.job(one).state for one in (job, other)} == {"queued"}
    bench.ask_drain(False)
    assert bench.wait(other).state == "succeeded"
    assert bench.wait(job).state == "succeeded"
    assert worker.process.poll() is None


@ONE_DATABASE
def test_a_training_makes_way_after_its_slice_for_who_had_less(make_bench):
    bench = make_bench(slice_seconds=1)
    long = bench.train(steps=100, step_seconds=0.05)
    bench.worker()
    bench.wait_step(long, 20)
    other = bench.train(steps=3, user_id=bench.another_user())
    assert bench.wait(other).state == "succeeded"
    found = bench.wait(long)
    assert (found.state, found.strikes) == ("succeeded", 0)
    assert any(e.data.get("why") == "rotate" for e in bench.events(long, "state"))
