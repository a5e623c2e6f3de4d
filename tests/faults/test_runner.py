"""Faults 15 and 17-21: runners that crash, hang or lie, and jobs that kill them."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import text

from tests.servers import wait_until
from tests.work import MARK, is_alive

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_poison_job_fails_at_its_third_strike_and_harms_no_other(bench):
    """The others are there before it dies: those that run lose their runner with it, those that wait get theirs."""
    poison, neighbour = bench.train("poison_at", at=3), bench.another_user()
    others = [bench.train(steps=20, step_seconds=0.05, user_id=neighbour)]
    others += [bench.generate(steps=40, step_seconds=0.05, user_id=neighbour) for _ in range(3)]
    bench.worker()
    found = bench.wait(poison, seconds=60)
    assert (found.state, found.error_code, found.attempt) == ("failed", "poison", 3)
    found = [bench.wait(other, seconds=60) for other in others]
    assert {(job.state, job.strikes, job.losses) for job in found} == {("succeeded", 0, 0)}
    assert not any(job.no_batch for job in found)
    assert max(job.attempt for job in found) > 1, "nobody was beside it when it died"


@ONE_DATABASE
def test_a_training_that_makes_progress_outlives_any_number_of_deaths(bench):
    """Each death is a strike, and each checkpoint pays it off; without that the third would be the last."""
    job = bench.train(steps=50, step_seconds=0.3, mark=MARK)
    worker = bench.worker()
    reached = 0
    for deaths in range(1, 4):
        reached = bench.wait_checkpoint(job, reached + 1, seconds=90).checkpoint_step
        worker.runner().kill()
        wait_until(lambda n=deaths: bench.job(job).attempt > n, 60, "the next attempt")
    found = bench.wait(job, seconds=120)
    assert (found.state, found.strikes, found.attempt) == ("succeeded", 0, 4)
    bench.assert_resumed(job, worker)


@ONE_DATABASE
def test_a_crash_of_the_runner_names_its_signal(bench):
    job = bench.train("poison_at", at=3, mode="segv")
    bench.worker()
    assert "SIGSEGV" in bench.wait(job, "failed", seconds=60).error_message
    whys = [event.data.get("why") for event in bench.events(job, "state")]
    assert "runner_crashed" in whys


@ONE_DATABASE
def test_a_training_whose_runner_crashes_once_waits_and_resumes(make_bench):
    bench = make_bench(backoff_seconds=2)
    job = bench.train(steps=40, step_seconds=0.05, mark=MARK)
    worker = bench.worker()
    bench.wait_checkpoint(job)
    worker.runner().send_signal(signal.SIGSEGV)
    waiting = bench.wait(job, "queued")
    assert (waiting.attempt, waiting.strikes, waiting.losses) == (1, 1, 0)
    assert bench.events(job, "state")[-1].data["why"] == "runner_crashed"
    found = bench.wait(job)
    assert (found.state, found.attempt, found.strikes) == ("succeeded", 2, 0)
    bench.assert_resumed(job, worker, waiting.checkpoint_step)
    second = [event for event in bench.events(job, "state") if event.data.get("attempt") == 2]
    assert second[0].at >= waiting.not_before


@ONE_DATABASE
def test_of_a_batch_only_the_poisonous_job_fails(bench):
    good = [bench.generate("poison_at", at=0, steps=30) for _ in range(7)]
    bad = bench.generate("poison_at", at=3, steps=30)
    bench.worker()
    assert [bench.wait(job, seconds=90).state for job in good] == ["succeeded"] * 7
    found = bench.wait(bad, seconds=90)
    assert (found.state, found.error_code, found.no_batch) == ("failed", "poison", True)
    # the death in company is nobody's strike; the three alone are
    assert (found.strikes, found.attempt) == (3, 4)
    assert {bench.job(job).strikes for job in good} == {0}


@ONE_DATABASE
def test_a_deaf_runner_is_found_and_its_job_struck(make_bench):
    bench = make_bench(deaf_seconds=1)
    job = bench.train("deaf", at=3, seconds=600)
    worker = bench.worker()
    runner = worker.runner()
    wait_until(lambda: not is_alive(runner), what="the deaf runner to be killed")
    wait_until(lambda: bench.job(job).strikes, what="a strike")
    assert bench.events(job, "state")[-1].data["why"] == "runner_deaf"


@ONE_DATABASE
def test_a_job_that_is_over_its_deadline_fails_with_it(bench):
    job = bench.train(steps=10_000, step_seconds=0.05)
    bench.worker()
    bench.wait_step(job, 3)
    with bench.db.writing() as session:
        session.execute(text("UPDATE job SET deadline_at = 1"))
    assert bench.wait(job, "failed").error_code == "deadline"


@ONE_DATABASE
def test_a_row_that_cannot_be_read_fails_and_the_claim_goes_on(bench):
    broken, odd, good = bench.train(steps=3), bench.train(steps=3), bench.train(steps=3)
    with bench.db.writing() as session:
        session.execute(text("UPDATE job SET params = '{\"steps' WHERE id = :i"), {"i": broken})
        session.execute(text("UPDATE job SET params = '[1]' WHERE id = :i"), {"i": odd})
    bench.worker()
    assert bench.wait(good).state == "succeeded"
    assert bench.wait(odd).error_code == "bad_row"
    assert bench.wait(broken).error_code == "bad_row"


@ONE_DATABASE
def test_a_job_whose_model_is_gone_fails_with_the_reason(bench):
    job = bench.generate()
    folder = bench.storage.path_of(f"models/{bench.models['sleep_steps']}")
    away = folder.rename(bench.settings.data / "away")
    bench.worker()
    found = bench.wait(job)
    away.rename(folder)
    assert (found.state, found.error_code) == ("failed", "input_missing")


@ONE_DATABASE
def test_a_job_that_raises_fails_alone_and_is_not_tried_again(bench):
    job = bench.train(steps=5, fail_at=2)
    bench.worker()
    found = bench.wait(job)
    assert (found.state, found.error_code, found.attempt) == ("failed", "bad_data", 1)


@ONE_DATABASE
def test_generations_run_between_the_steps_of_a_training(bench):
    training = bench.train(steps=120, step_seconds=0.05)
    bench.worker()
    bench.wait_step(training, 5)
    generation = bench.generate(count=2)
    assert bench.wait(generation).state == "succeeded"
    assert bench.job(training).state == "running"
    assert bench.wait(training).state == "succeeded"
