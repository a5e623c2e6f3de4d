"""Over HTTP with a real runner: a training goes on bit for bit, checkpoints become models, previews stay."""

from __future__ import annotations

import pytest

from tests.servers import wait_until
from tests.work import FAMILIES, WorkerProcess, add_dataset

TEXTS = tuple(f"Line {n} of a short text.\n" * 5 for n in range(9))
FINAL = ("succeeded", "failed", "cancelled")


@pytest.fixture
def settings(make_settings, database_url, valkey):
    return make_settings(
        database_url=database_url,
        redis_url=valkey.url,
        family_path=str(FAMILIES.parent / "families_torch"),
        families="tiny",
        checkpoint_seconds=0.1,
        threads=1,
        keep_checkpoints=3,
    )


@pytest.fixture
def submit(alice, studio, settings):
    """submit(steps=…): a training of alice's on a worker that runs."""
    worker = WorkerProcess(settings)
    dataset = add_dataset(studio.db, studio.storage, alice.user.id, TEXTS)
    wait_until(lambda: alice.get("/families").json["items"], 60, "the family")

    def post(**params):
        params.setdefault("cosine_steps", 80)
        body = {"kind": "train", "family": "tiny", "dataset_id": dataset, "params": params}
        answer = alice.post("/jobs", json=body | {"seed": 5})
        assert answer.status_code == 202, answer.text
        return answer.json["id"]

    yield post
    worker.end()


def ended(person, job_id):
    def look():
        job = person.get(f"/jobs/{job_id}").json
        return job if job["state"] in FINAL else None

    return wait_until(look, 60, f"the end of {job_id}")


def model_of(person, job_id):
    job = ended(person, job_id)
    assert job["state"] == "succeeded", job["error"]
    return person.get(f"/models/{job['result']['model_id']}").json


def test_a_finished_training_goes_on_and_makes_what_one_of_that_length_makes(alice, submit):
    first, direct = submit(steps=40), submit(steps=80)
    assert model_of(alice, first)["metrics"]["steps"] == 40
    [last] = [one for one in alice.get(f"/jobs/{first}/checkpoints").json["items"] if one["final"]]
    assert last["step"] == 40 and "loss" in last["metrics"]

    longer = alice.post(f"/jobs/{first}/continue", json={"steps": 80}).json["id"]
    assert model_of(alice, longer)["sha256"] == model_of(alice, direct)["sha256"]
    steps = [step for step, _, _ in alice.get(f"/jobs/{longer}/metrics").json["series"]["loss"]]
    assert steps == list(range(1, 81))

    copy = alice.post(f"/jobs/{first}/checkpoints/40/model").json["id"]
    model = model_of(alice, copy)
    assert model["metrics"]["steps"] == 40 and "validation" in model["metrics"]
    body = {"kind": "generate", "model_id": model["id"], "params": {"length": 3}}
    assert ended(alice, alice.post("/jobs", json=body).json["id"])["state"] == "succeeded"

    drawn = alice.get(f"/jobs/{first}/previews").json["items"]
    assert drawn and all(one["artifact"]["role"] == "preview" for one in drawn)
    places = [(one["step"], one["index"]) for one in drawn]
    assert places == sorted(places) and {index for _, index in places} == {0, 1, 2}
    for one in drawn:
        content = alice.get(f"/artifacts/{one['artifact']['id']}/content")
        assert content.status_code == 200 and len(content.data) == one["artifact"]["bytes"]


def test_a_checkpoint_becomes_a_model_while_its_training_runs_on(alice, submit):
    training = submit(steps=1_000_000)

    def best():
        found = alice.get(f"/jobs/{training}/checkpoints").json["items"]
        return [one["step"] for one in found if one["best"]]

    [step] = wait_until(best, 60, "a checkpoint with a score")
    job = alice.post(f"/jobs/{training}/checkpoints/{step}/model")
    if job.status_code == 409:  # a better one has come meanwhile
        [step] = best()
        job = alice.post(f"/jobs/{training}/checkpoints/{step}/model")
    assert model_of(alice, job.json["id"])["metrics"]["steps"] == step
    assert alice.get(f"/jobs/{training}").json["state"] == "running"
    alice.post(f"/jobs/{training}/cancel")
    assert ended(alice, training)["state"] == "cancelled"


def test_an_early_end_and_micro_batches_stand_in_the_result(alice, submit):
    params = {"worse_after": 20, "patience": 2, "hungry_above": 4, "steps": 9000}
    job = ended(alice, submit(**params))
    assert job["state"] == "succeeded", job["error"]
    metrics = job["result"]["metrics"]
    assert metrics["stopped_early"] == metrics["steps"] == job["progress"]["step"]
    assert job["progress"]["step"] == job["progress"]["total_steps"] < 9000
    assert job["progress"]["fraction"] == 1 and metrics["micro_batches"] == 2
    log = alice.get(f"/jobs/{job['id']}/log").text
    assert "Stopped early at step" in log and "in 2 micro-batches" in log
    card = alice.get(f"/models/{job['result']['model_id']}").json
    assert card["metrics"]["micro_batches"] == 2
    events = alice.get(f"/jobs/{job['id']}/events?limit=1000").json["items"]
    said = [one["data"]["text"] for one in events if one["type"] == "log"]
    assert any("micro-batches" in text for text in said)
