"""The publisher: files first, rows after, nothing visible twice, nothing left of a lost lease."""

from __future__ import annotations

import os
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from sqlalchemy.exc import OperationalError

from shared import jobs, scheduling
from shared.errors import StorageAway, StorageFull
from shared.job_records import Lease
from shared.models import Artifact, Job, Model, Result
from tests.servers import wait_until
from tests.work import Work
from worker import endings, link, reach
from worker.held import Held, Phase
from worker.publish import Closed, Publisher


@pytest.fixture
def work(settings, db):
    return Work(settings, db)


@pytest.fixture
def publisher(work):
    told = SimpleQueue()
    made = Publisher(work.settings, work.db, work.storage, told.put)
    made.told = told
    yield made
    made.finish(5)


def claim(work, job_id) -> Held:
    """The job as a supervisor holds it, with an empty folder."""
    offer = scheduling.Offer(
        worker_id="w",
        lanes=("interactive", "train"),
        families={"sleep_steps": 1},
        limit=1,
        lease_seconds=60,
    )
    with work.db.writing() as session:
        [job] = scheduling.claim(session, offer)
    assert job.id == job_id
    runs = work.settings.data / "runs" / "w"
    held = Held(job, Lease(job.id, job.fence), runs, phase=Phase.RUNNING)
    held.out.mkdir(parents=True)
    return held


def output(held, index=0, data=b"hello") -> link.Output:
    name = f"{index:04d}.txt"
    (held.out / name).write_bytes(data)
    return link.Output(
        job=held.key,
        index=index,
        role="output",
        name=name,
        file=name,
        media_type="text/plain",
        seed=1,
    )


def closed(publisher) -> Held:
    message = publisher.told.get(timeout=20)
    assert isinstance(message, Closed)
    return message.held


def rows(work, table):
    with work.db.reading() as session:
        return session.query(table).all()


def keys(work, prefix="artifacts"):
    return [stored.key for stored in work.storage.keys(prefix)]


def test_a_generation_is_published_with_its_files(work, publisher):
    job = work.generate(count=2)
    held = claim(work, job)
    for index in range(2):
        publisher.output(held, output(held, index))
    publisher.succeed(held, link.Done(job=held.key, metrics={"items": 2}))
    assert closed(publisher) is held
    assert work.job(job).state == "succeeded"
    found = rows(work, Artifact)
    assert [row.index for row in found] == [0, 1]
    assert work.storage.path_of(found[0].location).read_bytes() == b"hello"
    assert not held.out.exists()


def test_a_model_folder_is_published_under_an_id_of_its_own(work, publisher):
    held = claim(work, work.train())
    folder = held.out / "model"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    (folder / "tokenizer" / "vocab.json").write_text("[]")
    made = link.ModelMade(folder="model", schema_={"type": "object"}, facts={"context": 8})
    publisher.succeed(held, link.Done(job=held.key, model=made, metrics={"loss": 1.0}))
    closed(publisher)
    [model] = rows(work, Model)
    assert sorted(model.files) == ["model.json", "tokenizer/vocab.json"]
    assert model.facts == {"context": 8}
    assert work.storage.path_of(f"{model.location}/tokenizer/vocab.json").read_bytes() == b"[]"


def test_what_a_lost_lease_stored_is_deleted(work, publisher):
    job = work.generate()
    held = claim(work, job)
    publisher.output(held, output(held))
    wait_until(lambda: keys(work), what="the file")
    with work.db.writing() as session:
        jobs.give_back(session, held.lease, "test")
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    assert work.job(job).state == "queued"
    assert not keys(work) and not rows(work, Artifact)


def test_a_cancel_at_the_last_moment_wins_over_the_result(work, publisher):
    job = work.generate()
    held = claim(work, job)
    publisher.output(held, output(held))
    work.cancel(job)
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    assert work.job(job).state == "cancelled"
    assert not keys(work) and not rows(work, Result)


def test_while_the_storage_is_away_one_call_waits_for_all(work, publisher, monkeypatch):
    """Others' ends lie behind it, and each put or delete would be as patient."""
    calls = []

    def away(*_, **__):
        calls.append(1)
        raise StorageAway()

    job = work.generate(count=3)
    held = claim(work, job)
    for name in ("put_stream", "delete"):
        monkeypatch.setattr(work.storage, name, away)
    for index in range(3):
        publisher.output(held, output(held, index))
    held.stored.append("artifacts/x/1/a")
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    found = work.job(job)
    assert (found.state, found.strikes, len(calls)) == ("queued", 0, 1)
    monkeypatch.setattr(reach, "AWAY_SECONDS", 0.0)
    with pytest.raises(StorageAway), publisher._reach():
        raise AssertionError("not reached")
    made = reach.Reach()
    for _ in range(2):
        with pytest.raises(StorageAway), made():
            away()
    assert len(calls) == 3  # its time is over at once: each asks again


def test_a_full_disk_gives_the_job_back_without_a_strike(work, publisher, monkeypatch):
    job = work.generate()
    held = claim(work, job)

    def full(*_, **__):
        raise StorageFull()

    monkeypatch.setattr(work.storage, "put_stream", full)
    publisher.output(held, output(held))
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    found = work.job(job)
    assert (found.state, found.strikes) == ("queued", 0)
    assert found.not_before > found.created_at


@pytest.mark.parametrize("where", ["../../../secret", "link.txt", "pipe"])
def test_only_a_regular_file_inside_the_run_is_published(work, publisher, where):
    job = work.generate()
    held = claim(work, job)
    (work.settings.data / "secret").write_text("secret")
    out = held.out
    (out / "link.txt").symlink_to(work.settings.data / "secret")
    os.mkfifo(out / "pipe")
    message = output(held).model_copy(update={"file": where})
    publisher.output(held, message)
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    found = work.job(job)
    assert (found.state, found.error_code) == ("failed", "bad_data")
    assert not keys(work)


def test_a_commit_whose_answer_was_lost_is_not_made_twice(work, publisher, monkeypatch):
    job = work.generate()
    held = claim(work, job)
    publisher.output(held, output(held))
    wait_until(lambda: keys(work), what="the file")
    real, failures = work.db.writing, []

    @contextmanager
    def answer_lost():
        with real() as session:
            yield session
        if not failures:
            failures.append(1)
            raise OperationalError("COMMIT", {}, Exception("the connection was lost"))

    monkeypatch.setattr(work.db, "writing", answer_lost)
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    assert failures
    assert work.job(job).state == "succeeded"
    assert len(rows(work, Result)) == 1 and len(keys(work)) == 1


def test_a_commit_that_failed_is_made_again(work, publisher, monkeypatch):
    job = work.generate()
    held = claim(work, job)
    publisher.output(held, output(held))
    real, failures = work.db.writing, []

    @contextmanager
    def away_once():
        if not failures:
            failures.append(1)
            raise OperationalError("BEGIN", {}, Exception("the server is away"))
        with real() as session:
            yield session

    monkeypatch.setattr(work.db, "writing", away_once)
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    assert work.job(job).state == "succeeded" and failures


def test_checkpoints_are_kept_to_a_number(work, publisher):
    held = claim(work, work.train())
    for step in (1, 2, 3):
        (held.out / "c").write_bytes(b"x" * step)
        publisher.checkpoint(held, link.Checkpoint(job=held.key, step=step, file="c"))
        wait_until(lambda s=step: work.job(held.job.id).checkpoint_step == s, what="the row")
    publisher.close(held, endings.give_back(held, "drain"))
    closed(publisher)
    with work.db.reading() as session:
        kept = [row.step for row in jobs.newest_checkpoints(session, held.job.id)]
    assert kept == [3, 2]
    assert len(keys(work, "checkpoints")) == 2


def test_a_checkpoint_of_a_lost_lease_leaves_no_file(work, publisher):
    held = claim(work, work.train())
    with work.db.writing() as session:
        jobs.give_back(session, held.lease, "test")
    (held.out / "c").write_bytes(b"x")
    publisher.checkpoint(held, link.Checkpoint(job=held.key, step=5, file="c"))
    publisher.forget(held)
    closed(publisher)
    assert not keys(work, "checkpoints")
    assert work.job(held.job.id).checkpoint_step == 0


def test_the_last_words_of_a_job_are_written_with_its_end(work, publisher):
    held = claim(work, work.train())
    held.pending.say("a last line")
    held.pending.add(link.Progress(job=held.key, step=4, total=9))
    publisher.close(held, endings.fail(held, "bad_data", "no good"))
    closed(publisher)
    with work.db.reading() as session:
        job = session.get(Job, held.job.id)
    assert (job.state, job.error_code, job.progress_step) == ("failed", "bad_data", 4)
    assert "a last line" in work.log_of(job.id)


def test_a_preview_or_checkpoint_that_cannot_be_stored_ends_no_training(work, publisher):
    job = work.train()
    held = claim(work, job)
    preview = link.Preview(job=held.key, step=1, index=0, file="p.png", media_type="image/png")
    publisher.preview(held, preview)
    publisher.checkpoint(held, link.Checkpoint(job=held.key, step=1, file="c"))
    publisher.succeed(held, link.Done(job=held.key))
    closed(publisher)
    assert work.job(job).state == "succeeded"
    assert work.log_of(job).count("could not be stored") == 2


def test_a_checkpoint_made_twice_keeps_the_file_its_row_knows(work, publisher):
    """After memory ran out a training goes on from its newest snapshot, which it then writes again."""
    held = claim(work, work.train())
    for name in ("first", "other"):
        (held.out / name).write_text(name)
        publisher.checkpoint(held, link.Checkpoint(job=held.key, step=5, file=name))
    publisher.close(held, endings.give_back(held, "drain"))
    closed(publisher)
    with work.db.reading() as session:
        [row] = jobs.newest_checkpoints(session, held.job.id)
    assert work.storage.path_of(row.location).read_bytes() == b"first"


def test_a_job_is_closed_even_if_its_files_cannot_be_deleted(work, publisher, monkeypatch):
    held = claim(work, work.generate())
    publisher.output(held, output(held))
    wait_until(lambda: keys(work), what="the file")

    def refused(*_):
        raise PermissionError("not now")

    monkeypatch.setattr(work.storage, "delete", refused)
    publisher.close(held, endings.give_back(held, "drain"))
    closed(publisher)
