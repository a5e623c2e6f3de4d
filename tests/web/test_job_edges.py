"""What happens to jobs between two requests: things deleted, un-shared or ended meanwhile, and numbers told twice."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from shared.errors import AlreadyEnded
from shared.job_records import NewArtifact
from shared.models import Artifact, Quota


def test_a_weakened_tag_is_the_same_version(alice, work):
    job = work.training(alice)
    work.claim()
    tag = alice.get(f"/jobs/{job['id']}").headers["ETag"]
    for sent in (f"W/{tag}", f'"x", W/{tag}', "*"):
        answer = alice.get(f"/jobs/{job['id']}", headers={"If-None-Match": sent})
        assert answer.status_code == 304, sent


def test_a_key_may_be_short(alice, work):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    first, second = (
        alice.post("/jobs", headers={"Idempotency-Key": "k"}, json=body) for _ in range(2)
    )
    assert first.data == second.data
    assert second.headers["Idempotency-Replayed"] == "true"


def test_a_wait_is_never_longer_than_allowed(alice, work):
    job = work.training(alice)
    answer = alice.get(f"/jobs/{job['id']}?wait={'0' * 19}99999")
    assert answer.status_code == 422


def test_an_unknown_state_is_refused(alice):
    answer = alice.get("/jobs?state=queued,done")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/state"
    assert alice.get("/jobs?state=queued,running").status_code == 200


def test_a_retry_does_not_read_what_is_not_shared_any_more(alice, bob, work):
    dataset_id = work.dataset(alice)
    assert alice.patch(f"/datasets/{dataset_id}", json={"visibility": "shared"}).status_code == 200
    job = work.generation(bob, model_id=work.model(bob), params={"source": f"{dataset_id}:0"})
    bob.post(f"/jobs/{job['id']}/cancel")
    assert bob.post(f"/jobs/{job['id']}/retry").status_code == 202
    alice.patch(f"/datasets/{dataset_id}", json={"visibility": "private"})
    answer = bob.post(f"/jobs/{job['id']}/retry")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/params/source"


def test_a_job_that_ended_while_it_was_deleted_is_deleted(alice, work, monkeypatch):
    job = work.training(alice)

    def ended(session, job_id):
        raise AlreadyEnded()

    monkeypatch.setattr("web.services.jobs.states.request_cancel", ended)
    assert alice.delete(f"/jobs/{job['id']}").status_code == 204
    assert alice.get(f"/jobs/{job['id']}").status_code == 404


def test_a_preview_that_comes_after_its_job_was_deleted_is_not_shown(alice, work, studio):
    job = work.training(alice)
    (row,) = work.claim()
    assert alice.delete(f"/jobs/{job['id']}").status_code == 204
    location = f"artifacts/{row.id}/{row.fence}/preview-1-0.png"
    drawn = NewArtifact(
        index=0,
        name="p.png",
        media_type="image/png",
        bytes=3,
        sha256="0" * 64,
        location=location,
        role="preview",
    )
    work.report(row, previews=[(1, drawn)])
    with studio.db.reading() as session:
        (drawn_id,) = session.scalars(select(Artifact.id).where(Artifact.job_id == row.id))
    assert alice.get(f"/artifacts/{drawn_id}").status_code == 404
    assert alice.get("/me").json["use"]["storage_bytes"] == 0


def test_a_generation_that_waited_says_which_model_it_used(alice, work):
    training = work.training(alice)
    child = alice.post("/jobs", json={"kind": "generate", "waits_for": training["id"]}).json
    assert child["model_id"] is None
    (row,) = work.claim()
    work.succeed(row, model=True)
    model_id = alice.get(f"/jobs/{training['id']}").json["result"]["model_id"]
    (row,) = work.claim()
    work.succeed(row)
    made = alice.get(f"/jobs/{child['id']}").json
    assert made["model_id"] == model_id
    lineage = alice.get(f"/artifacts/{made['result']['artifacts'][0]['id']}/lineage").json
    assert lineage["model"] == {
        "id": model_id,
        "sha256": "3" * 64,
        "name": lineage["model"]["name"],
    }
    assert lineage["training_job"]["id"] == training["id"]
    assert lineage["dataset"]["sha256"] == "d" * 64


def test_a_quota_of_nothing_is_nothing(alice, work, studio):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    with studio.db.writing() as session:
        quota = session.get_one(Quota, alice.user.id)
        quota.max_queued_jobs = quota.max_storage_bytes = 0
    answer = alice.post("/jobs", json=body)
    assert (answer.status_code, answer.json["code"]) == (409, "quota_exceeded")
    told = alice.get("/me").json["quota"]
    assert (told["max_queued_jobs"], told["max_storage_bytes"]) == (0, 0)


def test_steps_that_were_made_again_are_told_once(alice, work):
    """An attempt goes on from a checkpoint: a curve must not turn back."""
    job = work.training(alice)
    (row,) = work.claim()
    work.report(row, points=[[step, step / 10, {"loss": 9.0}] for step in (1, 2, 3, 4)])
    work.report(row, points=[[3, 0.5, {"loss": 1.0}], [4, 0.6, {"loss": 2.0}]])
    series = alice.get(f"/jobs/{job['id']}/metrics").json["series"]["loss"]
    assert [(step, value) for step, _, value in series] == [(1, 9.0), (2, 9.0), (3, 1.0), (4, 2.0)]


def test_the_page_of_a_long_job_shows_its_last_events(alice, work, studio):
    from web.services import events

    job = work.training(alice)
    (row,) = work.claim()
    for step in range(1, 6):
        work.report(row, step=step, events=[("preview", {"index": 0, "text": f"text {step}"})])
    found = events.latest_events(studio, alice.user, job["id"], ("preview",), 2)
    assert [one["data"]["text"] for one in found] == ["text 4", "text 5"]


def test_a_file_that_cannot_be_deleted_is_left_to_the_sweep(alice, work, studio, monkeypatch):
    artifact_id = work.artifact(alice)

    def stuck(self, key):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(studio.storage), "delete", stuck)
    assert alice.delete(f"/artifacts/{artifact_id}").status_code == 204
    assert alice.get(f"/artifacts/{artifact_id}").status_code == 404


@pytest.mark.parametrize("depth", [19, 21])
def test_only_so_many_levels_are_read(alice, depth):
    answer = alice.post("/jobs", data='{"x":' * depth + "1" + "}" * depth)
    expected = {19: (422, "invalid_input"), 21: (400, "bad_request")}[depth]
    assert (answer.status_code, answer.json["code"]) == expected


@pytest.mark.parametrize("torn", ['"<", "", W/"x"', '"', "W/", ",,", '"1" "2"', "*"])
def test_a_torn_if_none_match_is_no_fault_of_ours(alice, work, torn):
    job_id = work.training(alice)["id"]
    alice.post(f"/jobs/{job_id}/cancel")  # what has ended is not waited for
    answer = alice.get(f"/jobs/{job_id}?wait=1", headers={"If-None-Match": torn})
    assert answer.status_code in (200, 304)
