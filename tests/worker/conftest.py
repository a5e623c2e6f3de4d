"""Fixtures that start runners and end them with the test, and that make uploads and check them."""

from __future__ import annotations

import pytest

from shared import uploads
from shared.ids import new_id
from shared.models import Dataset
from tests.worker.checked import row_of
from tests.worker.runner_harness import RunnerHarness
from worker.data_check import check_dataset


@pytest.fixture
def start_runner(tmp_path):
    """start_runner(["sleep_steps"], checkpoint_seconds=1) -> RunnerHarness"""
    started: list[RunnerHarness] = []

    def start(families, **settings):
        folder = tmp_path / f"runner{len(started)}"
        started.append(RunnerHarness(folder, list(families), **settings))
        return started[-1]

    yield start
    for runner in started:
        runner.close()


@pytest.fixture
def upload(db, settings, user):
    """Makes the row and the folder that an upload leaves; returns the dataset's id."""

    def upload(files=None, source="upload", kind=""):
        files = files or {}
        row = Dataset(
            id=new_id(), user_id=user.id, name="n", source=source, kind=kind, state="checking"
        )
        row.created_at, row.facts, row.problems = 0.0, {}, {}
        row.bytes = sum(map(len, files.values()))
        with db.writing() as session:
            session.add(row)
        if files:
            folder = uploads.folder_of(settings, row.id)
            folder.mkdir(parents=True)
            for number, data in enumerate(files.values()):
                uploads.file_of(folder, number).write_bytes(data)
            uploads.write_names(folder, list(files))
        return row.id

    return upload


@pytest.fixture
def check(db, settings, storage, upload):
    """Uploads, checks and returns the row."""

    def check(files=None, accept_partial=False, **values):
        dataset_id = upload(files, **values)
        check_dataset(settings, db, storage, dataset_id, accept_partial=accept_partial)
        row = row_of(db, dataset_id)
        kept = row.state == "refused" and "usable" in row.problems
        assert uploads.folder_of(settings, dataset_id).exists() == kept
        return row

    return check
