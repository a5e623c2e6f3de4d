"""Going on with a finished training, checkpoints as models: what is accepted, and what is refused with words."""

from __future__ import annotations

import pytest

from shared import catalog
from shared.models import Checkpoint, Job
from tests.web.conftest import ANNOUNCEMENT


@pytest.fixture
def add(work):
    return work.checkpoint


@pytest.fixture
def running(alice, work, add):
    """A training of 100 steps with two checkpoints."""
    work.training(alice, params={"steps": 100}, seed=5, name="mine")
    (row,) = work.claim()
    work.report(row, step=50, total=100, points=[[50, 0.1, {"loss": 2.0}]])
    add(row, 50, 2.0)
    work.report(row, step=80, total=100, points=[[80, 0.2, {"loss": 1.0}]])
    add(row, 80, 2.0)
    return row


@pytest.fixture
def finished(alice, work, add, running):
    """The same at its end, with its last state kept."""
    work.report(running, step=100, total=100)
    add(running, 100, 2.5)
    work.succeed(running, model=True)
    return running.id


def test_checkpoints_are_listed_with_what_they_are(alice, bob, finished):
    found = alice.get(f"/jobs/{finished}/checkpoints").json
    assert found["next"] is None
    told = [(one["step"], one["best"], one["final"]) for one in found["items"]]
    assert told == [(100, False, True), (80, False, False), (50, True, False)]
    assert found["items"][1]["metrics"] == {"loss": 1.0}
    assert found["items"][1]["bytes"] == 5 and found["items"][1]["created_at"]
    assert bob.get(f"/jobs/{finished}/checkpoints").status_code == 404


def test_the_last_state_of_a_running_training_is_not_final(alice, running):
    assert not any(
        one["final"] for one in alice.get(f"/jobs/{running.id}/checkpoints").json["items"]
    )


def test_a_finished_training_goes_on_as_a_new_job_priced_for_the_rest(alice, finished):
    answer = alice.post(f"/jobs/{finished}/continue", json={"steps": 150})
    assert answer.status_code == 202 and answer.headers["Location"].endswith(answer.json["id"])
    before, job = alice.get(f"/jobs/{finished}").json, answer.json
    assert (job["kind"], job["state"], job["continues"]) == ("train", "queued", finished)
    assert job["continues_step"] == 100 and job["params"] == before["params"] | {"steps": 150}
    assert (job["seed"], job["name"], job["dataset_id"]) == (5, "mine", before["dataset_id"])
    assert job["progress"]["step"] == 100 and job["progress"]["total_steps"] == 150
    # half of the work, and the same overhead
    assert 0 < job["estimate_seconds"] < before["estimate_seconds"]


def test_it_may_go_on_from_an_earlier_checkpoint_under_another_name(alice, finished):
    body = {"steps": 90, "checkpoint_step": 50, "name": "a branch"}
    job = alice.post(f"/jobs/{finished}/continue", json=body).json
    assert (job["continues_step"], job["name"], job["params"]["steps"]) == (50, "a branch", 90)


def test_the_same_key_goes_on_once(alice, finished):
    def post(steps):
        headers = {"Idempotency-Key": "once"}
        return alice.post(f"/jobs/{finished}/continue", json={"steps": steps}, headers=headers)

    first, second = post(150), post(150)
    assert second.headers["Idempotency-Replayed"] == "true" and second.text == first.text
    assert post(160).json["code"] == "idempotency_key_reused"


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert all(word in answer.text for word in words), answer.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/steps"),
        ({"steps": 100}, "/steps"),
        ({"steps": "150"}, "/steps"),
        ({"steps": 2_000_000}, "/steps"),
        ({"steps": 2**31}, "/steps"),
        ({"steps": 150, "checkpoint_step": -1}, "/checkpoint_step"),
        ({"steps": 150, "params": {}}, "/params"),
    ],
)
def test_a_wrong_body_is_refused_with_its_field(alice, finished, body, pointer):
    answer = alice.post(f"/jobs/{finished}/continue", json=body)
    refused(answer, 422)
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_what_cannot_go_on_is_refused_with_words(alice, bob, work, running, finished):
    path = f"/jobs/{finished}/continue"
    refused(bob.post(path, json={"steps": 150}), 404)
    refused(
        alice.post(path, json={"steps": 150, "checkpoint_step": 7}), 409, "step 7", "50, 80, 100"
    )
    queued = work.training(alice)["id"]
    refused(alice.post(f"/jobs/{queued}/continue", json={"steps": 150}), 409, "this one is queued")
    made = work.generation(alice)["id"]
    refused(alice.post(f"/jobs/{made}/continue", json={"steps": 150}), 409, "Only a training")


def test_a_training_whose_dataset_is_gone_cannot_go_on(alice, finished):
    dataset = alice.get(f"/jobs/{finished}").json["dataset_id"]
    assert alice.delete(f"/datasets/{dataset}?force=1").status_code == 204
    refused(alice.post(f"/jobs/{finished}/continue", json={"steps": 150}), 409, "dataset")


def test_a_training_of_an_older_version_cannot_go_on(alice, studio, finished):
    with studio.db.writing() as session:
        catalog.announce(session, ANNOUNCEMENT | {"version": 2})
    refused(alice.post(f"/jobs/{finished}/continue", json={"steps": 150}), 409, "version 2")


def test_a_training_whose_checkpoints_went_cannot_go_on(alice, studio, finished):
    with studio.db.writing() as session:
        session.query(Checkpoint).delete()
    refused(alice.post(f"/jobs/{finished}/continue", json={"steps": 150}), 409, "None of this")
    assert alice.get(f"/jobs/{finished}/checkpoints").json["items"] == []


def test_a_job_that_goes_on_can_be_tried_again_while_the_checkpoint_is_kept(
    alice, studio, finished
):
    job = alice.post(f"/jobs/{finished}/continue", json={"steps": 150}).json["id"]
    alice.post(f"/jobs/{job}/cancel")
    again = alice.post(f"/jobs/{job}/retry").json
    assert (again["continues"], again["continues_step"]) == (finished, 100)
    assert again["progress"]["step"] == 100
    alice.post(f"/jobs/{again['id']}/cancel")
    with studio.db.writing() as session:
        session.query(Checkpoint).delete()
    refused(alice.post(f"/jobs/{job}/retry"), 409, "not kept")


def test_a_training_that_others_go_on_from_is_deleted_only_by_force(alice, finished):
    job = alice.post(f"/jobs/{finished}/continue", json={"steps": 150}).json["id"]
    answer = alice.delete(f"/jobs/{finished}")
    refused(answer, 409, job)
    assert alice.delete(f"/jobs/{finished}?force=1").status_code == 204


def test_a_checkpoint_of_a_running_training_becomes_a_model(alice, bob, running, studio):
    path = f"/jobs/{running.id}/checkpoints/80/model"
    job = alice.post(path).json
    assert (job["kind"], job["continues"], job["continues_step"]) == ("train", running.id, 80)
    assert job["params"]["steps"] == 80 and job["name"] == "mine at step 80"
    assert job["estimate_seconds"] < 1 and job["lane"] == "interactive"
    assert alice.post(path, json={"name": "early"}).json["name"] == "early"
    refused(alice.post(path, json={"steps": 3}), 422, "/steps")
    refused(bob.post(path), 404)
    refused(alice.post(f"/jobs/{running.id}/checkpoints/81/model"), 409, "50, 80")
    refused(alice.post(f"/jobs/{running.id}/checkpoints/{2**40}/model"), 404)
    with studio.db.reading() as session:
        assert session.get(Job, job["id"]).checkpoint_step == 80


def test_the_page_of_a_training_goes_on_and_makes_models(mine, alice, finished):
    page = mine.get(f"/jobs/{finished}")
    assert "Checkpoints" in page.text and "the best" in page.text and "the last" in page.text
    answer = mine.post(f"/jobs/{finished}/continue", {"steps": "150"})
    newest = alice.get("/jobs?limit=1").json["items"][0]
    assert newest["continues"] == finished and answer.headers["Location"].endswith(newest["id"])
    answer = mine.post(f"/jobs/{finished}/continue", {"steps": "10"})
    assert answer.headers["Location"].endswith(finished)
    assert "must be more than 100" in mine.says()
    mine.post(f"/jobs/{finished}/continue", {"steps": "x"})
    assert "steps" in mine.says()
    mine.post(f"/jobs/{finished}/model", {"step": "7"})
    assert "no checkpoint at step 7" in mine.says()
    mine.post(f"/jobs/{finished}/model", {"step": "50"})
    assert alice.get("/jobs?limit=1").json["items"][0]["continues_step"] == 50
