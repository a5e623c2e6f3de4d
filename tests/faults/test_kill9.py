"""Faults 1-4 and 8-10: a worker dies at a named line; the job is run again, published once, nothing is lost."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from shared.models import Artifact, Result
from tests import oracle
from tests.work import MARK
from worker.chaos import files

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_job_claimed_by_a_dead_worker_is_claimed_again(bench):
    job = bench.train(steps=5)
    bench.worker_dies("after_claim")
    bench.worker("device-1")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)


def test_a_training_killed_mid_step_resumes_from_its_checkpoint(bench):
    job = bench.train(steps=40, step_seconds=0.05, mark=MARK)
    worker = bench.worker()
    bench.wait_checkpoint(job)
    worker.kill_group()
    kept = bench.job(job).checkpoint_step
    second = bench.worker("device-1")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)
    bench.assert_resumed(job, second, kept)


@ONE_DATABASE
def test_a_checkpoint_file_without_a_row_is_not_used(bench):
    """The second one, so that there is another to continue from."""
    job = bench.train(steps=40, step_seconds=0.05, mark=MARK)
    bench.worker_dies("before_checkpoint_row", nth=2)
    kept = bench.job(job).checkpoint_step
    assert kept
    (orphan,) = left_behind(bench, "checkpoints", job)
    second = bench.worker("device-1")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)
    bench.assert_resumed(job, second, kept)
    assert left_behind(bench, "checkpoints", job) == [orphan]
    oracle.check_files(bench)
    assert not left_behind(bench, "checkpoints", job)


@ONE_DATABASE
def test_a_checkpoint_whose_row_is_written_is_used(bench):
    job = bench.train(steps=30, step_seconds=0.05, mark=MARK)
    bench.worker_dies("after_checkpoint_row")
    kept = bench.job(job).checkpoint_step
    second = bench.worker("device-1")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)
    bench.assert_resumed(job, second, kept)


@ONE_DATABASE
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(bench):
    job = bench.train(steps=50, step_seconds=0.05, mark=MARK)
    worker = bench.worker()
    bench.wait_two_checkpoints(job)
    worker.kill_group()
    older, newer = bench.wait_two_checkpoints(job)  # another one may have come before the kill
    path = bench.storage.path_of(newer.location)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    second = bench.worker("device-1")
    assert bench.wait(job).state == "succeeded"
    assert f"The checkpoint at step {newer.step} cannot be used" in bench.log_of(job)
    bench.assert_resumed(job, second, older.step)


@pytest.mark.parametrize(("line", "stored"), [("after_artifact_rename", 1), ("in_publish", 2)])
def test_a_death_before_the_commit_of_a_result_leaves_nothing_visible(bench, line, stored):
    job = bench.generate(count=2)
    bench.worker_dies(line)
    assert bench.job(job).state == "running"  # until its lease is over
    assert rows_of(bench, job) == {Artifact: 0, Result: 0}
    assert not bench.events(job, "result")
    assert len(left_behind(bench, "artifacts", job)) == stored
    bench.worker("device-1")
    found = bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 2)


def test_a_death_after_the_commit_of_a_result_runs_nothing_again(bench):
    job = bench.generate(count=2)
    bench.worker_dies("after_publish")
    assert bench.job(job).state == "succeeded"
    assert rows_of(bench, job) == {Artifact: 2, Result: 1}
    bench.worker("device-1")
    bench.wait(bench.generate(), "succeeded")
    assert bench.job(job).attempt == 1


def rows_of(bench, job_id) -> dict:
    with bench.db.reading() as session:
        return {
            table: session.scalar(
                select(func.count()).select_from(table).where(table.job_id == job_id)
            )
            for table in (Artifact, Result)
        }


def left_behind(bench, folder: str, job_id: str) -> list[str]:
    """Files of a job that no row names."""
    found = files.unnamed(bench.settings, bench.db, bench.storage)
    return [name for name in found if name.startswith(f"{folder}/{job_id}/")]
