"""What a quota refuses, says and shows, over HTTP."""

from __future__ import annotations

import io

import pytest

from shared import jobs, quotas
from shared.job_records import Lease
from shared.models import Quota
from web.services.room import AMPLE_BYTES

QUOTA = (409, "quota_exceeded")


@pytest.fixture
def allow(studio, alice):
    def set_to(**values):
        with studio.db.writing() as session:
            quota = session.get_one(Quota, alice.user.id)
            for name, value in values.items():
                setattr(quota, name, value)

    return set_to


def code_of(answer):
    return answer.status_code, answer.json["code"]


def upload(person, data: bytes, **options):
    files = {"name": "texts", "file": (io.BytesIO(data), "a.txt")}
    return person.post("/datasets", data=files, content_type="multipart/form-data", **options)


def test_a_refusal_says_what_is_used_and_what_is_allowed(alice, work, allow):
    allow(max_queued_jobs=1)
    work.training(alice)
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    answer = alice.post("/jobs", json=body)
    assert code_of(answer) == QUOTA
    assert answer.json["quota"] == {"name": "queued_jobs", "used": 1, "allowed": 1}
    assert "frees a place" in answer.json["detail"]


def test_an_upload_that_cannot_fit_is_refused_before_it_is_read(alice, allow):
    allow(max_storage_bytes=1000)

    class Unread(io.BytesIO):
        def read(self, _size=-1):
            raise AssertionError("the body was read")

    body = Unread(b"x" * 100_000)
    answer = alice.post("/datasets", input_stream=body, content_type="multipart/form-data")
    assert code_of(answer) == QUOTA
    assert answer.json["quota"]["allowed"] == 1000


def test_an_upload_that_turns_out_too_large_is_refused_while_it_is_read(alice, allow, settings):
    allow(max_storage_bytes=1000)
    assert code_of(upload(alice, b"x" * 2000)) == QUOTA
    assert alice.get("/datasets").json["items"] == []
    assert [path for path in (settings.data / "uploads").rglob("*") if path.is_file()] == []
    assert upload(alice, b"hello there, reader").status_code == 202


def test_who_holds_all_he_may_submits_nothing(alice, work, allow):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice, bytes=500)}
    job = alice.post("/jobs", json=body).json
    alice.post(f"/jobs/{job['id']}/cancel")
    allow(max_storage_bytes=500)
    assert code_of(alice.post("/jobs", json=body)) == QUOTA
    assert code_of(alice.post(f"/jobs/{job['id']}/retry")) == QUOTA
    allow(max_storage_bytes=501)
    assert alice.post("/jobs", json=body).status_code == 202


def test_storage_counts_datasets_models_artifacts_and_checkpoints(alice, work, studio):
    work.dataset(alice, bytes=1000)
    work.model(alice)  # seven bytes of a model and three of a file
    work.training(alice)
    (job,) = work.claim()
    with studio.db.writing() as session:
        lease = Lease(job.id, job.fence)
        jobs.add_checkpoint(session, lease, step=1, location="c/1", sha256="0" * 64, size=200)
    assert alice.get("/me").json["use"]["storage_bytes"] == 1000 + 7 + 3 + 200


def test_a_job_that_waits_for_its_owner_s_other_jobs_says_so(alice, bob, work, allow):
    allow(max_running_jobs=2)
    waiting = [work.training(alice)["id"] for _ in range(3)][2]
    assert alice.get(f"/jobs/{waiting}").json["queue"]["waiting"] is None
    assert len(work.claim()) == 2
    words = "waiting: 2 jobs of yours run, and 2 may"
    assert alice.get(f"/jobs/{waiting}").json["queue"]["waiting"] == words
    assert alice.get("/jobs").json["items"][0]["queue"]["waiting"] == words
    assert [job["waiting"] for job in alice.get("/queue").json["jobs"]].count(words) == 1
    assert work.training(bob)["queue"]["waiting"] is None


def test_a_day_s_device_seconds_are_refused_with_the_time_they_free(alice, work, allow):
    allow(max_device_seconds_a_day=1e-6)
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    answer = alice.post("/jobs", json=body)
    assert code_of(answer) == QUOTA
    assert answer.json["quota"]["name"] == "device_seconds_a_day"
    assert "device-seconds" in answer.json["detail"]


def test_the_installation_s_limits_reach_every_submit(make_settings, sqlite_url, alice, work):
    from web import create_app

    settings = make_settings(database_url=sqlite_url, max_device_seconds_a_day=1e-6)
    app = create_app(settings, background=False)
    alice.client = app.test_client()
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    assert code_of(alice.post("/jobs", json=body)) == QUOTA
    app.extensions["atelier"].close()


def test_me_shows_each_quota_beside_its_use(alice, work, allow):
    work.training(alice)
    work.claim()
    work.training(alice)
    allow(max_running_jobs=3, max_device_seconds_a_day=500.0)
    me = alice.get("/me").json
    assert me["quota"] == {
        "max_queued_jobs": 10_000,
        "max_running_jobs": 3,
        "max_storage_bytes": 50 << 30,
        "max_device_seconds_a_day": 500.0,
    }
    assert (me["use"]["queued_jobs"], me["use"]["running_jobs"]) == (1, 1)
    assert me["use"]["device_seconds_reserved"] > 0


def test_who_has_ample_room_is_not_summed_up_at_each_submit(alice, work, allow, monkeypatch):
    """The sum is over all that somebody ever made: after seventy thousand results it is most of a submit."""
    asked, used = [], quotas.storage_used
    monkeypatch.setattr(quotas, "storage_used", lambda *of: asked.append(of) or used(*of))
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice, bytes=500)}
    for _ in range(3):
        assert alice.post("/jobs", json=body).status_code == 202
    assert len(asked) == 1
    allow(max_storage_bytes=AMPLE_BYTES)  # another limit, and not ample under it
    for _ in range(3):
        assert alice.post("/jobs", json=body).status_code == 202
    assert len(asked) == 4
