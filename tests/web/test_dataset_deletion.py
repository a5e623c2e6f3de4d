"""Deleting datasets: it says what depends on them, and what was promised to a job stays until that has ended."""

from __future__ import annotations

import io

import pytest

from shared import datasets as places
from shared import uploads
from shared.models import Dataset, DatasetItem


@pytest.fixture
def stored(alice, work, studio):
    """A ready dataset of pictures with bytes in storage."""
    dataset_id = work.dataset(alice)
    studio.storage.put_bytes(places.key_of(dataset_id, "data.bin"), b"abc")
    return dataset_id


def keys(studio, dataset_id):
    return [found.key for found in studio.storage.keys(places.prefix_of(dataset_id))]


def test_a_dataset_that_nothing_needs_goes_at_once(alice, stored, studio):
    assert keys(studio, stored)
    assert alice.delete(f"/datasets/{stored}").status_code == 204
    assert alice.get(f"/datasets/{stored}").status_code == 404
    assert keys(studio, stored) == []
    with studio.db.reading() as session:
        assert session.get(Dataset, stored) is None


def test_an_unchecked_upload_can_be_deleted(alice, studio):
    data = {"file": (io.BytesIO(b"x"), "a.txt")}
    dataset_id = alice.post("/datasets", data=data).json["id"]
    folder = uploads.folder_of(studio.settings, dataset_id)
    assert folder.exists()
    assert alice.delete(f"/datasets/{dataset_id}").status_code == 204
    assert not folder.exists()


@pytest.fixture
def trained(alice, work, stored):
    """A ready dataset of pictures with a queued training on it."""
    return stored, work.training(alice, dataset_id=stored)["id"]


def test_deletion_says_what_depends_on_it(alice, studio, trained):
    dataset_id, job_id = trained
    answer = alice.delete(f"/datasets/{dataset_id}")
    assert (answer.status_code, answer.json["code"]) == (409, "in_use")
    assert answer.json["dependents"] == [{"type": "job", "id": job_id}]
    assert keys(studio, dataset_id)


def test_a_model_that_learnt_from_it_depends_on_it(alice, work, trained):
    dataset_id, _ = trained
    work.succeed(work.claim()[0], model=True)
    answer = alice.delete(f"/datasets/{dataset_id}")
    (model_id,) = [model["id"] for model in alice.get("/models").json["items"]]
    assert answer.json["dependents"] == [{"type": "model", "id": model_id}]
    assert alice.delete(f"/datasets/{dataset_id}?force=1").status_code == 204
    assert alice.get(f"/models/{model_id}").json["lineage"]["dataset"]["sha256"] == "d" * 64


def test_by_force_it_is_hidden_and_accepted_jobs_keep_its_bytes(alice, studio, trained):
    dataset_id, job_id = trained
    assert alice.delete(f"/datasets/{dataset_id}?force=1").status_code == 204
    assert alice.get(f"/datasets/{dataset_id}").status_code == 404
    assert dataset_id not in [one["id"] for one in alice.get("/datasets").json["items"]]
    body = {"kind": "train", "family": "toy", "dataset_id": dataset_id}
    assert alice.post("/jobs", json=body).status_code == 404
    assert keys(studio, dataset_id)
    assert alice.get(f"/jobs/{job_id}").json["state"] == "queued"


def test_after_its_last_job_nothing_keeps_it(alice, studio, work, trained):
    dataset_id, job_id = trained
    alice.post(f"/jobs/{job_id}/cancel")
    assert alice.delete(f"/datasets/{dataset_id}").status_code == 204
    assert keys(studio, dataset_id) == []
    with studio.db.reading() as session:
        # the job still tells where it learnt
        assert session.get_one(Dataset, dataset_id).sha256 == "d" * 64
        assert session.get(DatasetItem, (dataset_id, 0)) is None


def test_a_generation_that_reads_an_item_depends_on_it(alice, stored, work):
    job = work.generation(alice, params={"source": f"{stored}:0"})
    answer = alice.delete(f"/datasets/{stored}")
    assert answer.json["dependents"] == [{"type": "job", "id": job["id"]}]


def test_others_are_counted_and_not_named(alice, bob, work, studio):
    dataset_id = work.dataset(alice, visibility="shared")
    work.training(bob, dataset_id=dataset_id)
    answer = alice.delete(f"/datasets/{dataset_id}")
    assert answer.json["dependents"] == [{"type": "job", "count": 1, "whose": "others"}]
