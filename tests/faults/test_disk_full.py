"""Fault 48: the disk fills up under an upload, a checkpoint, a result: words, nothing half, no strike, then on.

The data folder lies on a small file system of its own, which only root can make. The database does not: a full one
writes nothing at all (tests/faults/test_web_database.py).
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select, update

from shared.db import Database
from shared.models import Artifact, Dataset, Job, ShortTask
from tests import oracle
from tests.conftest import cannot
from tests.faults.conftest import Bench
from tests.servers import wait_until
from tests.work import FAMILIES, FINAL, WorkerProcess
from web import create_app
from web.services.accounts import create_user
from web.services.tokens import issue_token

MEGABYTES = 48


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)],
        capture_output=True,
    )
    if mounted.returncode:
        cannot("only root may make a file system to fill")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder, left=0):
    """Nothing but `left` bytes is free inside the block."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(folder)
        file.truncate(0)
        try:
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - left, 1))
        except OSError as error:
            assert error.errno == 28
    try:
        yield
    finally:
        ballast.unlink()


def text_form(size):
    """An upload as bytes: of a form the test client would keep a temporary file of its own."""
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    body = head + b"word " * (size // 5) + b"\r\n--edge--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=edge"}


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request, small_disk, make_settings, valkey):
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("postgres_url")
    settings = make_settings(
        data=small_disk,
        database_url=url,
        redis_url=valkey.url,
        family_path=str(FAMILIES),
        families="sleep_steps,fill_disk",
        disk_low_percent=0,
        disk_sweep_percent=0,
    )
    db = Database(url)
    made = Bench(settings, db, valkey)
    yield made
    made.end()
    db.dispose()


def is_room_asked_for(bench, job_id):
    """The job was given back because the disk was full."""
    return any(event.data.get("why") == "storage_full" for event in bench.events(job_id, "state"))


def hurry(bench, job_id):
    """Nobody waits a minute for the next try in a test."""
    with bench.db.writing() as session:
        session.execute(update(Job).where(Job.id == job_id).values(not_before=None))


def finished_well(bench, job_id):
    def has_ended():
        hurry(bench, job_id)  # again and again: it may have been given back just now
        return bench.job(job_id).state in FINAL

    wait_until(has_ended, 60, "the job to end")
    job = bench.job(job_id)
    assert (job.state, job.strikes) == ("succeeded", 0), job.error_message
    bench.end()
    assert not half_files(bench)
    oracle.check(bench)


def half_files(bench):
    return [path for path in bench.settings.data.rglob("*.partial") if path.is_file()]


def test_an_output_larger_than_the_disk_waits_for_room(bench, small_disk):
    job_id = bench.generate("fill_disk", megabytes=3)
    bench.worker()
    with filled(small_disk, left=5 << 20):
        wait_until(lambda: is_room_asked_for(bench, job_id), 60, "the disk to be noticed")
        found = bench.job(job_id)
        assert (found.state, found.strikes, found.losses) == ("queued", 0, 0)
        assert found.not_before
        with bench.db.reading() as session:
            assert session.scalar(select(func.count()).select_from(Artifact)) == 0
        assert not list(bench.storage.keys("artifacts"))
        # what is small enough still fits
        assert bench.wait(bench.generate()).state == "succeeded"
    finished_well(bench, job_id)


def test_a_training_keeps_its_last_checkpoint_and_goes_on_when_there_is_room(bench, small_disk):
    job_id = bench.train(steps=400, step_seconds=0.02)
    bench.worker()
    kept = bench.wait_checkpoint(job_id, 5).checkpoint_step
    with filled(small_disk):
        wait_until(
            lambda: (
                is_room_asked_for(bench, job_id) or "could not be stored" in bench.log_of(job_id)
            ),
            60,
            "the full disk to be met",
        )
        assert bench.job(job_id).state in ("queued", "running")
        assert bench.job(job_id).checkpoint_step >= kept
    finished_well(bench, job_id)


def test_an_upload_is_refused_in_words_and_leaves_nothing(bench, small_disk):
    app = create_app(bench.settings, background=False)
    studio = app.extensions["atelier"]
    user = create_user(bench.db, "ann", False)
    token = issue_token(bench.db, user, "test")["token"]
    client, headers = app.test_client(), {"Authorization": f"Bearer {token}"}

    def upload(size):
        return client.post("/api/v1/datasets", **text_form(size), headers=headers)

    uploads = small_disk / "uploads"
    with filled(small_disk, left=1 << 20):
        answer = upload(4 << 20)
        assert (answer.status_code, answer.json["code"]) == (507, "storage_full")
        assert "room" in answer.json["detail"]
        answer.close()
        assert not [path for path in uploads.rglob("*") if path.is_file()]
        begun = client.post(
            "/api/v1/uploads",
            headers=headers | {"Tus-Resumable": "1.0.0", "Upload-Length": str(4 << 20)},
        )
        assert begun.status_code == 201
        piece = client.patch(
            begun.headers["Location"],
            data=b"x" * (4 << 20),
            headers=headers
            | {
                "Tus-Resumable": "1.0.0",
                "Upload-Offset": "0",
                "Content-Type": "application/offset+octet-stream",
            },
        )
        assert (piece.status_code, piece.json["code"]) == (507, "storage_full")
    # what came piece by piece goes on where it stood
    at = client.head(begun.headers["Location"], headers=headers | {"Tus-Resumable": "1.0.0"})
    offset = int(at.headers["Upload-Offset"])
    rest = client.patch(
        begun.headers["Location"],
        data=b"x" * ((4 << 20) - offset),
        headers=headers
        | {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        },
    )
    assert rest.status_code == 204
    assert upload(1 << 20).status_code == 202
    studio.close()


def test_a_check_that_finds_no_room_is_made_again(bench, small_disk):
    app = create_app(bench.settings, background=False)
    studio = app.extensions["atelier"]
    user = create_user(bench.db, "ann", False)
    token = issue_token(bench.db, user, "test")["token"]
    headers = {"Authorization": f"Bearer {token}"}
    made = app.test_client().post("/api/v1/datasets", **text_form(5 << 20), headers=headers)
    studio.close()

    def row():
        with bench.db.reading() as session:
            return session.get(Dataset, made.json["id"])

    def is_tried_again():
        with bench.db.reading() as session:
            task = session.query(ShortTask).filter_by(name="check_dataset").one()
            return task.state == "queued" and task.not_before is not None and task.strikes == 0

    with filled(small_disk, left=3 << 20):
        worker = WorkerProcess(bench.settings, "cpu-0", kind="cpu")
        bench.workers.append(worker)
        wait_until(is_tried_again, 60, "the check to meet the full disk")
        assert row().state == "checking"
        assert not list(bench.storage.keys(f"datasets/{made.json['id']}"))
    with bench.db.writing() as session:
        session.execute(update(ShortTask).values(not_before=None))
    wait_until(lambda: row().state == "ready", 60, "the dataset to be ready")
