"""Run folders: what a job needs is fetched, verified, and nothing else is reachable."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from shared import jobs
from shared.errors import BadData, TooExpensive
from shared.job_records import Lease
from shared.models import Checkpoint, Job, Model
from tests.work import TEXTS, Work
from worker.device_run import BadRow, Fetcher, InputMissing, remove_stale_runs, taken_output
from worker.held import Held


@pytest.fixture
def work(settings, db):
    return Work(settings, db)


@pytest.fixture
def fetcher(work):
    return Fetcher(work.settings, work.db, work.storage)


def held(work, job_id, **changes) -> Held:
    with work.db.writing() as session:
        job = session.get(Job, job_id)
        for name, value in changes.items():
            setattr(job, name, value)
    return Held(job, Lease(job_id, 1), work.settings.data / "runs" / "w")


def test_a_training_gets_its_dataset(work, fetcher):
    start = fetcher.prepare(held(work, work.train(steps=3)))
    folder = Path(start.dataset.folder)
    assert (folder / "data.bin").read_text() == "".join(TEXTS)
    first = json.loads((folder / "manifest.jsonl").read_text().splitlines()[0])
    assert first["bytes"] == len(TEXTS[0])
    assert start.dataset.facts["items"] == len(TEXTS)
    assert start.resumable and start.checkpoint is None and start.params == {"steps": 3}


def test_a_generation_gets_its_model(work, fetcher):
    start = fetcher.prepare(held(work, work.generate()))
    assert json.loads((Path(start.model.folder) / "model.json").read_text())["value"] == 1.5
    assert start.model.id == work.models["sleep_steps"]


def test_a_damaged_file_is_refused(work, fetcher):
    job = work.generate()
    path = work.storage.path_of(f"models/{work.models['sleep_steps']}/model.json")
    path.write_bytes(b"{}")
    with pytest.raises(BadData, match="damaged"):
        fetcher.prepare(held(work, job))


def test_a_missing_model_is_named_so(work, fetcher):
    job = work.generate()
    work.storage.delete(f"models/{work.models['sleep_steps']}")
    with pytest.raises(InputMissing):
        fetcher.prepare(held(work, job))
    with work.db.writing() as session:
        session.delete(session.get(Model, work.models["sleep_steps"]))
    with pytest.raises(InputMissing):
        fetcher.prepare(held(work, job))


def test_an_input_is_the_range_of_a_packed_file(work, fetcher):
    text = TEXTS[1].encode()
    source = {
        "location": f"datasets/{work.dataset_id}/data.bin",
        "offset": len(TEXTS[0]),
        "bytes": len(text),
        "sha256": hashlib.sha256(text).hexdigest(),
    }
    start = fetcher.prepare(held(work, work.generate(), inputs={"prompt": source}))
    assert Path(start.inputs["prompt"]).read_bytes() == text
    wrong = {"prompt": source | {"offset": 0}}
    with pytest.raises(BadData, match="damaged"):
        fetcher.prepare(held(work, work.generate(), inputs=wrong))


def test_a_row_that_makes_no_sense_is_a_bad_row(work, fetcher):
    with pytest.raises(BadRow):
        fetcher.prepare(held(work, work.train(), kind="dance"))


def test_the_newest_whole_checkpoint_is_taken(work, fetcher):
    job = work.train()
    with work.db.writing() as session:
        for step, data in ((1, b"one"), (2, b"two"), (3, b"three")):
            key = f"checkpoints/{job}/1/{step}.safetensors"
            sha256, size = work.storage.put_bytes(key, data)
            session.add(
                Checkpoint(
                    job_id=job,
                    fence=1,
                    step=step,
                    location=key,
                    sha256=sha256 if step < 3 else "0" * 64,
                    bytes=size,
                    created_at=0.0,
                )
            )
    mine = held(work, job)
    start = fetcher.prepare(mine)
    assert start.checkpoint.step == 2
    assert Path(start.checkpoint.path).read_bytes() == b"two"
    assert "step 3 cannot be used" in mine.pending.take().log
    assert not work.storage.path_of(f"checkpoints/{job}/1/3.safetensors").exists()


def test_a_run_reads_from_one_folder_and_writes_to_another(work, fetcher):
    mine = held(work, work.train())
    start = fetcher.prepare(mine)
    runs = work.settings.data / "runs" / "w"
    assert Path(start.folder) == runs / "out" / mine.key
    assert Path(start.folder).is_dir()
    assert (runs / "in" / mine.key) in Path(start.dataset.folder).parents


def test_an_output_is_opened_without_following_links(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret").write_text("secret")
    (out / "good").write_text("good")
    (out / "link").symlink_to(tmp_path / "secret")
    (out / "folder").symlink_to(tmp_path)
    (out / "all").symlink_to(out)
    os.mkfifo(out / "pipe")
    (out / "below").mkdir()
    with taken_output(out, "good") as file:
        assert file.read() == b"good"
    assert not (out / "good").exists()
    for name in ("link", "folder/secret", "../secret", "nothing", ".", "pipe", "below"):
        with pytest.raises(BadData), taken_output(out, name):
            pass
    with pytest.raises(BadData), taken_output(out / "all", "good"):
        pass
    assert (tmp_path / "secret").read_text() == "secret"


def test_an_output_is_removed_where_it_was_opened(tmp_path):
    """The runner swaps the folder for a link while the file is being stored."""
    out, stored = tmp_path / "out", tmp_path / "stored"
    for folder in (out / "model", stored):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("w")
    with taken_output(out, "model/weights"):
        (out / "model").rename(out / "aside")
        (out / "model").symlink_to(stored)
    assert (stored / "weights").exists()
    assert not (out / "aside" / "weights").exists()


def test_what_an_earlier_life_left_goes_whatever_it_is(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    runs = tmp_path / "w"
    for name in ("in/a.1", "out/a.1/model", "tmp/x"):
        (runs / name).mkdir(parents=True)
    (runs / "out" / "b.2").symlink_to(kept)
    (runs / "out" / "c.3").touch()
    (runs / "stepping").touch()
    remove_stale_runs(runs)
    assert sorted(str(p.relative_to(runs)) for p in runs.rglob("*")) == [
        "in",
        "out",
        "stepping",
        "tmp",
    ]
    assert (kept / "file").exists()


def checkpoint(work, job_id, step, fence=1):
    key = f"checkpoints/{job_id}/{fence}/{step}.safetensors"
    sha256, size = work.storage.put_bytes(key, f"{job_id} {step}".encode())
    with work.db.writing() as session:
        session.add(
            Checkpoint(
                job_id=job_id,
                fence=fence,
                step=step,
                location=key,
                sha256=sha256,
                bytes=size,
                created_at=0.0,
            )
        )


def test_a_training_that_goes_on_gets_the_checkpoint_it_goes_on_from_until_it_has_one(
    work, fetcher
):
    parent, job = work.train(), work.train(steps=9)
    for step in (3, 5, 8):
        checkpoint(work, parent, step)
    goes_on = held(work, job, continues=parent, continues_step=5)
    start = fetcher.prepare(goes_on)
    assert (start.checkpoint.step, start.continues_step) == (5, 5)
    assert Path(start.checkpoint.path).read_text() == f"{parent} 5"
    checkpoint(work, job, 7)
    start = fetcher.prepare(goes_on)
    assert (start.checkpoint.step, start.continues_step) == (7, 5)


def test_without_the_checkpoint_it_was_to_go_on_from_it_does_not_begin_anew(work, fetcher):
    parent = work.train()
    checkpoint(work, parent, 5)
    with pytest.raises(InputMissing, match="checkpoint"):
        fetcher.prepare(held(work, work.train(), continues=parent, continues_step=6))


def test_a_generation_that_waited_for_its_model_is_priced_when_that_is_there(work, fetcher):
    dear = held(work, work.generate(waits_for=work.train()), estimate_seconds=200.0)
    assert fetcher.prepare(dear).model is not None  # a week is allowed
    short = Fetcher(
        work.settings.model_copy(update={"max_job_seconds": 100}), work.db, work.storage
    )
    with pytest.raises(TooExpensive, match="are allowed"):
        short.prepare(dear)
    short.prepare(held(work, work.generate(), estimate_seconds=200.0))  # accepted with its price


def test_each_time_memory_ran_out_since_the_checkpoint_makes_twice_as_many_parts(work, fetcher):
    """Killed by the kernel, nobody in the runner can halve them any more."""
    job_id = work.train()

    def killed():
        with work.db.writing() as session:
            job = session.get(Job, job_id)
            job.state, job.owner, job.fence = "running", "w", job.fence + 1
            session.flush()
            jobs.strike(session, Lease(job_id, job.fence), "oom", "killed")
        job = work.job(job_id)
        assert job.state == "queued" and job.error_code is None
        return fetcher.prepare(Held(job, Lease(job_id, job.fence), work.settings.data / "r")).splits

    assert [killed(), killed()] == [2, 4]
    # it got further with four parts, which the checkpoint remembers
    fence = work.job(job_id).fence + 1
    with work.db.writing() as session:
        job = session.get(Job, job_id)
        job.state, job.owner, job.fence = "running", "w", fence
        session.flush()
        key = f"checkpoints/{job_id}/{fence}/5.safetensors"
        sha256, size = work.storage.put_bytes(key, b"state")
        file = {"location": key, "sha256": sha256, "size": size}
        assert jobs.add_checkpoint(session, Lease(job_id, fence), step=5, **file)
        jobs.give_back(session, Lease(job_id, fence), "drain")
    assert killed() == 2
