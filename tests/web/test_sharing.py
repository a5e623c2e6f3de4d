"""Shared with everybody, and un-shared: readable to jobs already accepted, and to nobody else."""

from __future__ import annotations

import pytest

from shared import packs
from shared.datasets import key_of
from shared.models import Job


@pytest.fixture
def shared(alice, work, studio):
    """Alice's dataset and model, which everybody may read."""
    dataset_id, model_id = work.dataset(alice), work.model(alice)
    studio.storage.put_bytes(key_of(dataset_id, packs.DATA), b"png")
    for path in (f"/datasets/{dataset_id}", f"/models/{model_id}"):
        assert alice.patch(path, json={"visibility": "shared"}).json["visibility"] == "shared"
    return {"dataset": dataset_id, "model": model_id}


def unshare(alice, shared):
    for path in (f"/datasets/{shared['dataset']}", f"/models/{shared['model']}"):
        assert alice.patch(path, json={"visibility": "private"}).json["visibility"] == "private"


def test_what_is_shared_is_read_and_not_changed_by_others(bob, shared):
    for path in (f"/datasets/{shared['dataset']}", f"/models/{shared['model']}"):
        found = bob.get(path).json
        assert (found["visibility"], found["mine"]) == ("shared", False)
        for visibility in ("private", "shared"):
            assert bob.patch(path, json={"visibility": visibility}).status_code == 404
        assert bob.delete(path).status_code == 404


@pytest.mark.parametrize("value", ["public", "", None, 1, True])
def test_there_are_two_visibilities(alice, shared, value):
    for path in (f"/datasets/{shared['dataset']}", f"/models/{shared['model']}"):
        answer = alice.patch(path, json={"visibility": value})
        # null leaves it as it is
        assert answer.status_code == (200 if value is None else 422)
        assert alice.get(path).json["visibility"] == "shared"


def test_access_ends_with_sharing_and_no_kept_copy_is_confirmed(alice, bob, shared):
    content = f"/datasets/{shared['dataset']}/items/0/content"
    first = bob.get(content)
    assert (first.status_code, first.data) == (200, b"png")
    tag = {"If-None-Match": first.headers["ETag"]}
    assert bob.get(content, headers=tag).status_code == 304
    # kept by the browser alone, and never used without asking
    assert first.headers["Cache-Control"] == "private, no-cache"
    unshare(alice, shared)
    for path in (
        content,
        f"/datasets/{shared['dataset']}",
        f"/datasets/{shared['dataset']}/items",
        f"/models/{shared['model']}",
    ):
        assert bob.get(path, headers=tag).status_code == 404, path
    for name in ("datasets", "models"):
        ids = [row["id"] for row in bob.get(f"/{name}").json["items"]]
        assert shared[name[:-1]] not in ids
    assert alice.get(content, headers=tag).status_code == 304


def test_jobs_that_were_accepted_run_and_new_ones_are_refused(alice, bob, work, shared):
    training = {"kind": "train", "family": "toy", "dataset_id": shared["dataset"]}
    generation = {"kind": "generate", "model_id": shared["model"]}
    picture = f"{shared['dataset']}:0"
    reader = {"kind": "generate", "model_id": work.model(bob), "params": {"source": picture}}
    accepted = [bob.post("/jobs", json=body).json["id"] for body in (training, generation, reader)]
    unshare(alice, shared)
    claimed = {job.id: job for job in work.claim()}
    assert set(accepted) <= set(claimed)
    for job_id in accepted:
        work.succeed(claimed[job_id])
        assert bob.get(f"/jobs/{job_id}").json["state"] == "succeeded"
        # a retry is a new job, and may not
        assert bob.post(f"/jobs/{job_id}/retry").status_code in (404, 422)
    assert bob.post("/jobs", json=training).status_code == 404
    assert bob.post("/jobs", json=generation).status_code == 404
    assert bob.post("/jobs", json=reader).status_code == 422


def test_a_shared_thing_that_was_deleted_is_gone_for_others_and_there_for_their_jobs(
    alice, bob, work, shared, studio
):
    job_id = work.training(bob, dataset_id=shared["dataset"])["id"]
    assert alice.delete(f"/datasets/{shared['dataset']}").status_code == 409
    assert alice.delete(f"/datasets/{shared['dataset']}?force=1").status_code == 204
    assert bob.get(f"/datasets/{shared['dataset']}").status_code == 404
    with studio.storage.open(key_of(shared["dataset"], packs.DATA)) as file:
        assert file.read() == b"png"
    assert job_id in [job.id for job in work.claim()]


def test_lineage_tells_hashes_only_once_a_thing_is_unshared(alice, bob, work, shared):
    job_id = work.generation(bob, model_id=shared["model"])["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job)
    artifact_id = bob.get(f"/jobs/{job_id}").json["result"]["artifacts"][0]["id"]
    before = bob.get(f"/artifacts/{artifact_id}/lineage").json
    assert before["model"]["id"] == shared["model"]
    unshare(alice, shared)
    after = bob.get(f"/artifacts/{artifact_id}/lineage").json
    assert after["model"] == {"id": None, "sha256": "3" * 64, "name": None}
    assert after["training_job"]["id"] is None
    assert after["dataset"] == {"id": None, "sha256": "d" * 64, "name": None}


def test_the_card_of_a_model_forgets_the_name_of_data_that_was_unshared(alice, bob, work, shared):
    job_id = work.training(bob, dataset_id=shared["dataset"])["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, model=True)
    path = f"/models/{bob.get(f'/jobs/{job_id}').json['result']['model_id']}"
    assert bob.get(path).json["lineage"]["dataset"]["name"] == "pictures"
    unshare(alice, shared)
    alice.patch(f"/datasets/{shared['dataset']}", json={"name": "a new secret"})
    lineage = bob.get(path).json["lineage"]
    assert lineage["dataset"] == {"id": None, "name": None, "sha256": "d" * 64}


def test_a_count_of_others_jobs_is_all_that_a_deletion_tells(alice, bob, work, shared, studio):
    job_id = work.training(bob, dataset_id=shared["dataset"])["id"]
    answer = alice.delete(f"/datasets/{shared['dataset']}")
    assert {"type": "job", "count": 1, "whose": "others"} in answer.json["dependents"]
    assert job_id not in answer.text
    with studio.db.reading() as session:
        assert session.get_one(Job, job_id).user_id == bob.user.id


def test_a_page_shares_and_stops_sharing(mine, theirs, things):
    path = f"/datasets/{things['dataset']}"
    assert mine.post(path, {"visibility": "shared"}).status_code == 303
    page = theirs.page(path)
    assert "Stop sharing" not in page.words
    assert "Delete" not in page.words
    assert theirs.post(path, {"visibility": "private"}).status_code == 404
    assert mine.post(path, {"visibility": "private"}).status_code == 303
    assert theirs.get(path).status_code == 404
