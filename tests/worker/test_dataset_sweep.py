"""The sweep: what was promised stays, what nobody needs goes, nothing waits for ever."""

from __future__ import annotations

import os

import pytest

from shared import datasets, short_tasks, uploads
from shared.ids import new_id
from shared.job_records import NewJob
from shared.jobs import accept, request_cancel
from shared.models import Dataset, DatasetItem
from worker.dataset_sweep import sweep_datasets


@pytest.fixture
def sweep(db, settings, storage):
    return lambda: sweep_datasets(settings, db, storage)


@pytest.fixture
def add(db, user, storage):
    def add(**values):
        fields = {"name": "n", "state": "ready", "facts": {}, "problems": {}, "created_at": 0.0}
        with db.writing() as session:
            row = Dataset(id=new_id(), user_id=user.id, **(fields | values))
            session.add(row)
            session.flush()
            session.add(
                DatasetItem(
                    dataset_id=row.id,
                    n=0,
                    name="a",
                    sha256="",
                    media_type="text/plain",
                    offset=0,
                    bytes=3,
                )
            )
        storage.put_bytes(datasets.key_of(row.id, "data.bin"), b"abc")
        return row.id

    return add


def stored(storage):
    return {found.key.split("/")[1] for found in storage.keys("datasets")}


def job_on(db, user, dataset_id=None, inputs=None):
    new = NewJob(
        user_id=user.id,
        kind="train",
        family="f",
        family_version=1,
        params={},
        seed=0,
        lane="train",
        dataset_id=dataset_id,
        inputs=inputs or {},
    )
    with db.writing() as session:
        return accept(session, new).id


def test_a_hidden_dataset_stays_until_its_jobs_have_ended(db, user, storage, add, sweep):
    shown, idle = add(), add(deleted_at=1.0)
    trains, reads = add(deleted_at=1.0), add(deleted_at=1.0)
    place = {"x": {"location": datasets.key_of(reads, "data.bin")}}
    ids = [job_on(db, user, trains), job_on(db, user, inputs=place)]
    assert sweep() == 3
    assert stored(storage) == {shown, trains, reads} - {idle}
    with db.writing() as session:
        for job_id in ids:
            request_cancel(session, job_id)
    assert sweep() == 6
    assert sweep() == 0
    assert stored(storage) == {shown}
    with db.reading() as session:
        assert session.get(DatasetItem, (trains, 0)) is None
        assert session.get(Dataset, trains) is not None


def test_a_check_that_failed_for_good_is_told(db, add, sweep):
    waiting, given_up = add(state="checking"), add(state="checking")
    forgotten = add(state="checking")
    with db.writing() as session:
        for dataset_id in (waiting, given_up):
            slot = datasets.check_slot(dataset_id)
            short_tasks.add(session, datasets.CHECK_TASK, {"dataset_id": dataset_id}, slot)
        task = short_tasks.claim_due(session, 60)
        task.strikes = short_tasks.STRIKES
        session.flush()
        short_tasks.retry_or_fail(session, task, task.fence, "lost")
        failed = task.arguments["dataset_id"]
    sweep()
    with db.reading() as session:
        rows = {row: session.get(Dataset, row) for row in (waiting, given_up, forgotten)}
    assert rows.pop(failed).state == rows.pop(forgotten).state == "refused"
    assert [row.state for row in rows.values()] == ["checking"]


def age(*paths):
    for path in paths:
        os.utime(path, (1.0, 1.0))


def test_files_without_a_row_go_after_a_day(db, settings, storage, add, sweep):
    checking, kept = add(state="checking"), add()
    with db.writing() as session:
        slot = datasets.check_slot(checking)
        short_tasks.add(session, datasets.CHECK_TASK, {"dataset_id": checking}, slot)
    for name in ("old", "young", checking, kept):
        uploads.folder_of(settings, name).mkdir(parents=True)
    incoming = uploads.uploads_of(settings) / uploads.INCOMING
    incoming.mkdir()
    for name in ("old", "young"):
        (incoming / name).write_bytes(b"x")
        storage.put_bytes(datasets.key_of(name, "data.bin"), b"abc")
    age(*(uploads.folder_of(settings, name) for name in ("old", checking, kept)), incoming / "old")
    age(storage.path_of(datasets.key_of("old", "data.bin")))
    age(storage.path_of(datasets.key_of(kept, "data.bin")))
    assert sweep() == 4  # a pack and a part of an upload
    assert stored(storage) == {checking, kept, "young"}
    left = {path.name for path in uploads.uploads_of(settings).iterdir()}
    assert left == {"young", checking, uploads.INCOMING}
    assert [path.name for path in incoming.iterdir()] == ["young"]
