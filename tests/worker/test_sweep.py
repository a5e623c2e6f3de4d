"""The sweep: what nobody refers to goes, what anybody refers to stays."""

from __future__ import annotations

import os
import time

import pytest

from shared import jobs
from shared.db import clock
from shared.models import Checkpoint, IdempotencyKey, Job, JobEvent, Model, ShortTask, Sweep, Tally
from tests.work import Work
from worker.sweep import sweep, sweep_files, sweep_rows

DAY = 86_400.0
OLD = time.time() - 2 * DAY


@pytest.fixture
def work(settings, db):
    return Work(settings, db)


def put(work, key, old=True):
    work.storage.put_bytes(key, b"data")
    if old:
        os.utime(work.storage.path_of(key), (OLD, OLD))


def names(work):
    return {
        stored.key
        for prefix in ("artifacts", "checkpoints", "models")
        for stored in work.storage.keys(prefix)
    }


def test_an_old_file_without_a_row_goes_and_a_young_one_stays(work):
    put(work, "artifacts/gone/1/0.txt")
    put(work, "artifacts/young/1/0.txt", old=False)
    assert sweep_files(work.settings, work.db, work.storage) == 1
    assert names(work) == {"artifacts/young/1/0.txt"}


def test_a_half_written_file_goes(work):
    put(work, "artifacts/half/1/0.txt")
    path = work.storage.path_of("artifacts/half/1/0.txt")
    path.rename(path.with_name(".0.txt.partial"))
    assert sweep_files(work.settings, work.db, work.storage) == 1
    assert not names(work)


@pytest.mark.parametrize("name", [".DS_Store", "gone/1/.DS_Store", "gone/1/a b", b"gone/1/\xff"])
def test_a_file_that_is_none_of_ours_stays_and_ends_no_sweep(work, name):
    put(work, "artifacts/aaa/1/0.txt")
    put(work, "artifacts/zzz/1/0.txt")
    for prefix in ("artifacts", "datasets", "models"):
        path = work.storage.root / prefix / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"stray")
        os.utime(path, (OLD, OLD))
    swept = sweep(work.settings, work.db, work.storage)
    assert swept.removed["artifacts"].files == 2
    assert (swept.found["orphans"].files, swept.found["orphans"].bytes) == (3, 15)


def test_a_file_with_a_row_stays(work):
    job = work.generate()
    model = work.models["sleep_steps"]
    put(work, f"models/{model}/model.json")
    put(work, f"checkpoints/{job}/1/5.safetensors")
    with work.db.writing() as session:
        session.add(
            Checkpoint(
                job_id=job,
                fence=1,
                step=5,
                location=f"checkpoints/{job}/1/5.safetensors",
                sha256="",
                bytes=4,
                created_at=0.0,
            )
        )
    assert sweep_files(work.settings, work.db, work.storage) == 0


def test_a_deleted_model_stays_until_the_accepted_jobs_have_ended(work):
    job = work.generate()
    model = work.models["sleep_steps"]
    put(work, f"models/{model}/model.json")
    with work.db.writing() as session:
        session.get(Model, model).deleted_at = 1.0
    assert sweep_files(work.settings, work.db, work.storage) == 0
    work.cancel(job)
    assert sweep_files(work.settings, work.db, work.storage) == 1


def test_a_deleted_model_stays_for_a_generation_that_waits_for_its_training(work):
    parent = work.train()
    child = work.generate(waits_for=parent)
    model = work.models["sleep_steps"]
    put(work, f"models/{model}/model.json")
    with work.db.writing() as session:
        session.get(Job, child).model_id = None  # known only when the child is claimed
        row = session.get(Model, model)
        row.job_id, row.deleted_at = parent, 1.0
    assert sweep_files(work.settings, work.db, work.storage) == 0
    work.cancel(child)
    assert sweep_files(work.settings, work.db, work.storage) == 1


def test_rows_whose_time_is_over_go(work):
    job = work.train()
    work.cancel(job)
    put(work, f"checkpoints/{job}/1/5.safetensors")
    with work.db.writing() as session:
        at = clock(session)
        session.get(Job, job).finished_at = at - 2 * DAY
        session.add(
            Checkpoint(
                job_id=job,
                fence=1,
                step=5,
                location=f"checkpoints/{job}/1/5.safetensors",
                sha256="",
                bytes=4,
                created_at=0.0,
            )
        )
        for key, age in (("old", 2 * DAY), ("new", 0)):
            session.add(
                IdempotencyKey(
                    user_id="u",
                    key=key,
                    body_sha256="",
                    job_id="",
                    response="",
                    created_at=at - age,
                )
            )
        session.add(
            ShortTask(
                name="sweep", arguments={}, state="done", created_at=at, finished_at=at - 2 * DAY
            )
        )
    sweep_rows(work.settings, work.db, work.storage)
    with work.db.reading() as session:
        assert [row.key for row in session.query(IdempotencyKey)] == ["new"]
        assert not session.query(ShortTask).all()
        assert not jobs.newest_checkpoints(session, job)
    assert not names(work)


def test_run_folders_nobody_holds_go(work):
    job = work.train()
    runs = work.settings.data / "runs" / "w"
    kept = [f"in/{job}.1", f"out/{job}.1", "tmp/nobody.3"]
    for name in (*kept, "in/nobody.3", "out/nobody.3"):
        (runs / name).mkdir(parents=True)
        os.utime(runs / name, (OLD, OLD))
    with work.db.writing() as session:
        row = session.get(Job, job)
        row.state, row.fence, row.owner, row.lease_until = "running", 1, "w", 9e9
    sweep_files(work.settings, work.db, work.storage)
    assert sorted(str(path.relative_to(runs)) for path in runs.glob("*/*")) == sorted(kept)


def test_the_last_state_of_a_finished_training_stays_longer(work):
    job = work.train()
    with work.db.writing() as session:
        at = clock(session)
        row = session.get(Job, job)
        row.state, row.progress_step, row.finished_at = "succeeded", 9, at - 2 * DAY
        for step in (5, 9):
            session.add(
                Checkpoint(
                    job_id=job,
                    fence=1,
                    step=step,
                    location=f"checkpoints/{job}/1/{step}.safetensors",
                    sha256="",
                    bytes=4,
                    created_at=0.0,
                )
            )

    def left(**settings):
        sweep_rows(work.settings.model_copy(update=settings), work.db, work.storage)
        with work.db.reading() as session:
            return [row.step for row in jobs.newest_checkpoints(session, job)]

    for step in (5, 9):
        put(work, f"checkpoints/{job}/1/{step}.safetensors")
    assert left() == [9]
    child = work.train()
    with work.db.writing() as session:
        row = session.get(Job, child)
        row.continues, row.continues_step = job, 9
    assert left(keep_final_seconds=DAY) == [9]
    work.cancel(child)
    assert left() == [9]
    with work.db.writing() as session:
        session.get(Job, job).deleted_at = at
    assert left() == []
    assert not names(work)


def test_a_sweep_tells_what_it_freed(work):
    put(work, "artifacts/gone/1/0.txt")
    put(work, "artifacts/young/1/0.txt", old=False)
    swept = sweep(work.settings, work.db, work.storage, why="asked", sweep_id="s1")
    assert (swept.files, swept.bytes) == (1, 4)
    with work.db.reading() as session:
        row = session.get(Sweep, "s1")
        assert row.removed["artifacts"] == {"rows": 0, "files": 1, "bytes": 4}
        assert row.found["orphans"] == {"files": 1, "bytes": 4}
        assert row.found["datasets"]["bytes"] > 0
        assert 0 < row.free_before <= row.disk_bytes and 0 < row.free_after <= row.disk_bytes
        assert session.get(Tally, ("swept_bytes", "artifacts")).value == 4


def test_a_sweep_of_rows_that_found_nothing_leaves_no_row(work):
    sweep(work.settings, work.db, work.storage, files=False, why="rows")
    with work.db.reading() as session:
        assert not session.query(Sweep).all()


def test_old_chatter_of_ended_jobs_goes_and_their_story_stays(work):
    ended, running = work.train(), work.train()
    work.cancel(ended)
    with work.db.writing() as session:
        session.get(Job, ended).finished_at = clock(session) - 31 * DAY
        for job in (ended, running):
            for n, kind in enumerate(("progress", "metrics", "log", "preview"), start=10):
                session.add(JobEvent(job_id=job, n=n, type=kind, at=1.0, data={}))
    swept = sweep(work.settings, work.db, work.storage)
    assert swept.removed["events"].rows == 4
    assert {event.type for kind in ("state", "log") for event in work.events(ended, kind)} == {
        "state"
    }
    assert work.events(running, "log")
