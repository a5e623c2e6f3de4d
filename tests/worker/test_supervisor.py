"""A real worker, from an accepted row to published files, and what it says of itself meanwhile."""

from __future__ import annotations

import hashlib
import json

import pytest

from shared.models import Artifact, FamilyRow, Job, JobEvent, MetricPoint, Model, Result, Worker
from tests import oracle
from tests.servers import wait_until
from tests.work import FAMILIES, Work, WorkerProcess


@pytest.fixture
def work(make_settings, database_url, db, valkey):
    settings = make_settings(
        database_url=database_url,
        redis_url=valkey.url,
        family_path=str(FAMILIES),
        families="sleep_steps",
    )
    return Work(settings, db)


@pytest.fixture
def worker(work):
    started = WorkerProcess(work.settings)
    yield started
    started.end()


def rows(work, table, **where):
    with work.db.reading() as session:
        return session.query(table).filter_by(**where).all()


def test_a_training_becomes_a_model_and_the_model_generates(work, worker):
    training = work.train(steps=40, step_seconds=0.05, validate_every=5)
    found = work.wait(training, "succeeded")
    assert found.progress_step == found.progress_total == 40
    assert found.device_seconds > 0 and found.charged_seconds == found.device_seconds
    [model] = rows(work, Model, job_id=training)
    assert model.dataset_id == work.dataset_id and "model.json" in model.files
    [result] = rows(work, Result, job_id=training)
    assert result.model_id == model.id and result.build
    points = [point for row in rows(work, MetricPoint, job_id=training) for point in row.points]
    assert points[-1][0] == 40 and "value" in points[-1][2]
    assert "sleeping 40 times" in work.log_of(training)

    work.models["sleep_steps"] = model.id
    generation = work.generate(count=3, word="hello")
    assert work.wait(generation).state == "succeeded"
    made = rows(work, Artifact, job_id=generation, role="output")
    assert sorted(row.index for row in made) == [0, 1, 2]
    for row in made:
        data = work.storage.path_of(row.location).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.sha256
        assert f"hello {row.index} {row.seed}".encode() in data
        assert row.label
    worker.look()
    worker.term()
    assert worker.wait() == 0
    worker.assert_nothing_left()
    oracle.check(work)
    assert not list((work.settings.data / "runs").glob("*/*/*.*"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_worker_announces_itself_and_its_families(work, worker):
    wait_until(lambda: [row.state for row in rows(work, Worker)] == ["ready"], what="the worker")
    [row] = rows(work, Worker)
    assert row.families == {"sleep_steps": 1}
    assert row.kind == "device" and row.device and row.facts
    [family] = rows(work, FamilyRow)
    assert family.announcement["title"] == "Sleeper"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_text_is_streamed_as_events_while_it_grows(work, worker):
    job = work.generate(steps=60, step_seconds=0.05)
    work.wait(job, "succeeded")
    texts = [e.data["text"] for e in rows(work, JobEvent, job_id=job, type="preview")]
    assert texts and texts == sorted(texts, key=len)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_of_a_version_the_worker_lacks_is_left_for_others(work, worker):
    wait_until(lambda: [row.state for row in rows(work, Worker)] == ["ready"], what="the worker")
    other = work.train(version=2)
    assert work.wait(work.train(steps=2)).state == "succeeded"
    assert (work.job(other).state, work.job(other).attempt) == ("queued", 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_generation_that_waits_for_a_training_uses_its_model(work, worker):
    training = work.train(steps=5)
    work.models["sleep_steps"] = None
    generation = work.generate(waits_for=training)
    assert work.wait(generation).state == "succeeded"
    [artifact] = rows(work, Artifact, job_id=generation, role="output")
    [model] = rows(work, Model, job_id=training)
    value = json.loads(work.storage.path_of(f"{model.location}/model.json").read_text())["value"]
    assert repr(value) in work.storage.path_of(artifact.location).read_text()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_generation_that_its_model_makes_too_dear_fails_with_the_price(work):
    """Nobody could price it when it was accepted."""
    frugal = WorkerProcess(work.settings.model_copy(update={"max_job_seconds": 0.05}))
    try:
        training = work.train(steps=5)
        work.models["sleep_steps"] = None
        dear = work.wait(work.generate(waits_for=training, count=1, steps=3))
        assert (dear.state, dear.error_code, dear.attempt) == ("failed", "too_expensive", 1)
        assert "are allowed" in dear.error_message and dear.cost["flops"] > 0
    finally:
        frugal.end()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_two_workers_share_a_queue_and_run_each_job_once(work):
    few = work.settings.model_copy(update={"generation_items": 4})  # so that neither takes all
    both = [WorkerProcess(few, f"device-{n}") for n in range(2)]
    try:
        wait_until(lambda: [row.state for row in rows(work, Worker)] == ["ready"] * 2, what="both")
        jobs = [work.generate(count=1, steps=5, step_seconds=0.05) for _ in range(30)]
        owners = set()

        def have_ended():
            found = rows(work, Job)
            owners.update(job.owner for job in found if job.owner)
            return all(job.state == "succeeded" for job in found) and found

        found = wait_until(have_ended, 90, "the end of all")
        assert [job.attempt for job in found] == [1] * len(jobs)
        assert len(owners) == 2
    finally:
        for worker in both:
            worker.end()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_runner_that_has_run_many_jobs_starts_anew_between_two(work):
    worker = WorkerProcess(work.settings.model_copy(update={"runner_jobs": 2}))
    try:
        pids = []
        for _ in range(5):
            assert work.wait(work.generate(count=1)).state == "succeeded"
            pids.append(worker.runner().pid)
        wait_until(lambda: worker.runner().pid != pids[0], what="a new runner")
        found = work.wait(work.generate(count=1))
        assert (found.state, found.attempt) == ("succeeded", 1)
    finally:
        worker.end()
