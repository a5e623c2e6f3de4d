"""Faults 1-4 and 8-10: a worker dies at a named line; the job is run again, published once, nothing is lost."""

from __future__ import annotations

import pytest

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_job_claimed_by_a_dead_worker_is_claimed_again(bench):
    job = bench.train(steps=5)
    bench.worker_dies("after_claim")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)


def test_a_training_killed_mid_step_resumes_from_its_checkpoint(bench):
    job = bench.train(steps=40, step_seconds=0.05)
    worker = bench.worker()
    bench.wait_checkpoint(job)
    worker.kill_group()
    kept = bench.job(job).checkpoint_step
    bench.worker("device-1")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)
    assert f"checkpoint at step {kept}" in bench.log_of(job)


@ONE_DATABASE
def test_a_checkpoint_file_without_a_row_is_not_used(bench):
    job = bench.train(steps=30, step_seconds=0.05)
    bench.worker_dies("before_checkpoint_row")
    assert bench.job(job).checkpoint_step == 0
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)
    assert "Continues from" not in bench.log_of(job)


@ONE_DATABASE
def test_a_checkpoint_whose_row_is_written_is_used(bench):
    job = bench.train(steps=30, step_seconds=0.05)
    bench.worker_dies("after_checkpoint_row")
    kept = bench.job(job).checkpoint_step
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)
    assert f"Continues from the checkpoint at step {kept}" in bench.log_of(job)


@ONE_DATABASE
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(bench):
    job = bench.train(steps=50, step_seconds=0.05)
    worker = bench.worker()
    bench.wait_two_checkpoints(job)
    worker.kill_group()
    older, newer = bench.wait_two_checkpoints(job)  # another one may have come before the kill
    path = bench.storage.path_of(newer.location)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    bench.worker("device-1")
    assert bench.wait(job).state == "succeeded"
    told = bench.log_of(job)
    assert f"The checkpoint at step {newer.step} cannot be used" in told
    assert f"Continues from the checkpoint at step {older.step}" in told


@pytest.mark.parametrize("line", ["after_artifact_rename", "in_publish"])
def test_a_death_before_the_commit_of_a_result_leaves_nothing_visible(bench, line):
    job = bench.generate(count=2)
    bench.worker_dies(line)
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)


def test_a_death_after_the_commit_of_a_result_runs_nothing_again(bench):
    job = bench.generate(count=2)
    bench.worker_dies("after_publish")
    assert bench.job(job).state == "succeeded"
    bench.wait(bench.generate(), "succeeded")
    assert bench.job(job).attempt == 1
