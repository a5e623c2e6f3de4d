"""Submitting, looking, waiting, cancelling, pausing, retrying and deleting jobs over HTTP."""

from __future__ import annotations

import re
import threading
import time

import pytest
from sqlalchemy import select

from shared import disk
from shared.errors import NotFound
from shared.models import Job, Model


def pointers(answer):
    return [error["pointer"] for error in answer.json["errors"]]


def test_a_job_is_accepted_with_every_default_written_out(alice, work):
    dataset_id = work.dataset(alice)
    body = {"kind": "train", "family": "toy", "dataset_id": dataset_id, "params": {"steps": 5}}
    answer = alice.post("/jobs", json=body)
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["params"] == {"steps": 5, "width": 8, "heads": 2, "rate": 0.1}
    assert 0 <= job["seed"] < 2**53
    assert job["queue"]["position"] == 1
    assert job["progress"] == {
        "step": 0,
        "total_steps": 5,
        "fraction": 0.0,
        "eta_seconds": None,
    }
    assert job["error"] is None
    assert job["result"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created_at"])
    assert alice.get(f"/jobs/{job['id']}").json == job


def test_a_finished_job_shows_its_result(alice, work):
    job = work.training(alice)
    (row,) = work.claim()
    work.report(row, step=3, total=100, points=[[3, 0.1, {"loss": 2.0}]])
    running = alice.get(f"/jobs/{job['id']}").json
    assert running["state"] == "running"
    assert running["progress"]["fraction"] == 0.03
    assert running["attempt"] == 1
    work.succeed(row, (b"one", b"two"), model=True)
    done = alice.get(f"/jobs/{job['id']}").json
    assert done["state"] == "succeeded"
    assert done["progress"]["fraction"] == 1.0
    assert [artifact["index"] for artifact in done["result"]["artifacts"]] == [0, 1]
    assert done["result"]["metrics"] == {"loss": 0.5}
    assert done["result"]["model_id"]
    empty = dict.fromkeys(("position", "estimated_start_at", "reason", "waiting"))
    assert done["queue"] == empty


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"kind": "paint"}, "/kind"),
        ({"family": "nothing"}, "/family"),
        ({"family": None}, "/family"),
        ({"dataset_id": None}, "/dataset_id"),
        ({"model_id": "x"}, "/model_id"),
        ({"params": {"steps": 0}}, "/params/steps"),
        ({"params": {"stepz": 1}}, "/params/stepz"),
        ({"params": {"width": 9}}, "/params/width"),
        ({"params": []}, "/params"),
        ({"seed": -1}, "/seed"),
        ({"seed": 2**53 + 1}, "/seed"),
        ({"seed": True}, "/seed"),
        ({"priority": 11}, "/priority"),
        ({"deadline_seconds": 0}, "/deadline_seconds"),
        ({"deadline_seconds": 31 * 86_400}, "/deadline_seconds"),
        ({"name": "x" * 201}, "/name"),
        ({"name": "a\u0000b"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"waits_for": ""}, "/waits_for"),
    ],
)
def test_nonsense_is_refused_with_a_pointer(alice, work, studio, change, pointer):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    answer = alice.post("/jobs", json={**body, **change})
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert pointer in pointers(answer)
    with studio.db.reading() as session:
        assert session.query(Job).count() == 0


def test_a_kind_that_no_family_offers_is_unavailable(alice, work):
    answer = alice.post("/jobs", json={"kind": "tune", "family": "toy"})
    assert (answer.status_code, answer.json["code"]) == (422, "kind_unavailable")


def test_a_job_over_the_limit_is_too_expensive(alice, work):
    params = {"steps": 1_000_000, "width": 4096, "rate": 0.5}
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice), "params": params}
    answer = alice.post("/jobs", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "too_expensive")


@pytest.mark.parametrize(
    "values",
    [
        {"state": "checking"},
        {"state": "refused"},
        {"kind": "text"},
        {"facts": {"items": 10, "channels": 3}},
    ],
)
def test_a_dataset_that_the_family_cannot_use_is_refused(alice, work, values):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice, **values)}
    answer = alice.post("/jobs", json=body)
    assert answer.status_code == 422
    assert pointers(answer) == ["/dataset_id"]


def test_a_dry_run_estimates_and_accepts_nothing(alice, work, studio):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    answer = alice.post("/jobs?dry_run=1", json=body)
    assert answer.status_code == 200
    # 100 steps * 8 wide * 10 items * 1e6 at the speed assumed of an unknown worker, the steps, the overhead
    assert answer.json["estimate_seconds"] == pytest.approx(0.4 + 0.1 + 0.2)
    with studio.db.reading() as session:
        assert session.query(Job).count() == 0


def test_generation_is_checked_against_the_models_own_schema(alice, work):
    model_id = work.model(alice)
    ask = {"kind": "generate", "model_id": model_id}
    assert alice.post("/jobs", json={**ask, "params": {"count": 8}}).status_code == 202
    assert pointers(alice.post("/jobs", json={**ask, "params": {"count": 9}})) == ["/params/count"]
    assert pointers(alice.post("/jobs", json={**ask, "family": "vae"})) == ["/family"]


def test_lanes_follow_the_estimate(alice, work):
    job = work.training(alice)
    assert job["lane"] == "train"
    (row,) = work.claim()
    work.succeed(row, model=True)
    model_id = alice.get(f"/jobs/{job['id']}").json["result"]["model_id"]
    assert work.generation(alice, model_id=model_id)["lane"] == "interactive"


def test_a_generation_may_wait_for_the_training_of_its_model(alice, work):
    training = work.training(alice)
    ask = {"kind": "generate", "waits_for": training["id"], "params": {"count": 900}}
    answer = alice.post("/jobs", json=ask)
    assert answer.status_code == 202
    assert answer.json["waits_for"] == training["id"]
    assert answer.json["model_id"] is None
    assert answer.json["lane"] == "interactive"
    (row,) = work.claim()
    work.succeed(row, model=True)
    later = alice.post("/jobs", json={**ask, "params": {"count": 2}})
    assert later.json["model_id"] == alice.get(f"/jobs/{row.id}").json["result"]["model_id"]
    # what waited is known to cost something, now that its model is
    held = {job.id: job for job in work.claim()}
    first, second = held[answer.json["id"]], held[later.json["id"]]
    assert first.cost == {"flops": 900e9, "steps": 900.0}
    assert first.estimate_seconds > second.estimate_seconds > 0
    # now the model's own schema holds
    assert pointers(alice.post("/jobs", json=ask)) == ["/params/count"]


def test_a_generation_that_waited_takes_the_defaults_of_its_model(alice, work, studio):
    training = work.training(alice)
    alice.post("/jobs", json={"kind": "generate", "waits_for": training["id"]})
    (row,) = work.claim()
    work.succeed(row, model=True)
    with studio.db.writing() as session:
        model = session.scalars(select(Model)).one()
        model.generate_schema = {"properties": {"count": {"type": "integer", "default": 3}}}
    (child,) = work.claim()
    # what nobody chose follows the model; what it does not take is not asked of it
    assert child.model_id == model.id and child.params == {"count": 3}


def test_a_parent_that_was_cancelled_cannot_be_waited_for(alice, work):
    training = work.training(alice)
    alice.post(f"/jobs/{training['id']}/cancel")
    answer = alice.post("/jobs", json={"kind": "generate", "waits_for": training["id"]})
    assert pointers(answer) == ["/waits_for"]


def test_a_reference_is_resolved_to_the_bytes(alice, work, studio):
    dataset_id, model_id = work.dataset(alice), work.model(alice)
    body = {"kind": "generate", "model_id": model_id, "params": {"source": f"{dataset_id}:0"}}
    job_id = alice.post("/jobs", json=body).json["id"]
    with studio.db.reading() as session:
        assert session.get_one(Job, job_id).inputs == {
            "source": {
                "location": f"datasets/{dataset_id}/data.bin",
                "sha256": "1" * 64,
                "offset": 0,
                "bytes": 3,
            }
        }


def test_a_text_is_no_picture(alice, work):
    artifact_id = work.artifact(alice)
    body = {"kind": "generate", "model_id": work.model(alice), "params": {"source": artifact_id}}
    answer = alice.post("/jobs", json=body)
    assert pointers(answer) == ["/params/source"]
    assert "text/plain" in answer.json["errors"][0]["message"]


def test_etag_answers_304_until_the_version_changes(alice, work):
    job = work.training(alice)
    (row,) = work.claim()
    first = alice.get(f"/jobs/{job['id']}")
    tag = first.headers["ETag"]
    assert tag == f'"{first.json["version"]}"'
    assert first.headers["Retry-After"] == "2"
    again = alice.get(f"/jobs/{job['id']}", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    work.report(row, step=1, total=10)
    changed = alice.get(f"/jobs/{job['id']}", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    work.succeed(row)
    assert "Retry-After" not in alice.get(f"/jobs/{job['id']}").headers


def test_while_queued_the_clock_is_part_of_the_etag(alice, work):
    job = work.training(alice)
    tag = alice.get(f"/jobs/{job['id']}").headers["ETag"]
    assert re.fullmatch(r'"1\.\d+"', tag)
    clock = int(tag.strip('"').partition(".")[2])
    assert clock in (int(time.time() // 2), int(time.time() // 2) - 1)


def test_a_long_poll_ends_with_the_change(alice, work):
    job = work.training(alice)
    (row,) = work.claim()
    tag = alice.get(f"/jobs/{job['id']}").headers["ETag"]
    answers = []

    def poll():
        path = f"/jobs/{job['id']}?wait=30"
        answers.append(alice.get(path, headers={"If-None-Match": tag}))

    thread = threading.Thread(target=poll)
    began = time.monotonic()
    thread.start()
    work.report(row, step=1, total=10)
    thread.join(20)
    assert answers[0].status_code == 200
    assert answers[0].json["progress"]["step"] == 1
    assert time.monotonic() - began < 20


def test_a_long_poll_without_news_ends_unchanged(alice, work):
    job = work.training(alice)
    work.claim()
    tag = alice.get(f"/jobs/{job['id']}").headers["ETag"]
    answer = alice.get(f"/jobs/{job['id']}?wait=1", headers={"If-None-Match": tag})
    assert answer.status_code == 304


def test_an_ended_job_is_not_waited_for(alice, work):
    job = work.training(alice)
    alice.post(f"/jobs/{job['id']}/cancel")
    assert alice.get(f"/jobs/{job['id']}?wait=60").json["state"] == "cancelled"


def test_cancel_twice_is_the_same_and_after_the_end_a_conflict(alice, work):
    job = work.training(alice)
    for _ in range(2):
        answer = alice.post(f"/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.json["state"]) == (200, "cancelled")
    other = work.training(alice)
    (row,) = work.claim()
    work.succeed(row)
    answer = alice.post(f"/jobs/{other['id']}/cancel")
    assert (answer.status_code, answer.json["code"]) == (409, "already_ended")
    assert answer.json["job"]["state"] == answer.json["state"] == "succeeded"
    assert (answer.json["status"], answer.json["code"]) == (409, "already_ended")


def test_cancel_of_a_running_job_is_a_request(alice, work):
    job = work.training(alice)
    work.claim()
    answer = alice.post(f"/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json["state"]) == (200, "running")
    assert answer.json["cancel_requested"] is True


def test_a_paused_job_is_not_claimed_until_it_is_resumed(alice, work):
    job = work.training(alice)
    assert alice.post(f"/jobs/{job['id']}/pause").json["paused"] is True
    assert work.claim() == []
    assert alice.post(f"/jobs/{job['id']}/resume").json["paused"] is False
    assert len(work.claim()) == 1


def test_a_retry_is_a_new_job_with_the_same_seed_and_parameters(alice, work):
    job = work.training(alice, params={"steps": 7})
    assert alice.post(f"/jobs/{job['id']}/retry").status_code == 409
    alice.post(f"/jobs/{job['id']}/cancel")
    answer = alice.post(f"/jobs/{job['id']}/retry")
    assert answer.status_code == 202
    again = answer.json
    assert again["id"] != job["id"]
    assert again["retry_of"] == job["id"]
    for name in ("seed", "params", "family", "dataset_id", "kind"):
        assert again[name] == job[name]


def test_lists_go_on_from_a_cursor_newest_first(alice, work):
    dataset_id = work.dataset(alice)
    ids = [work.training(alice, dataset_id=dataset_id)["id"] for _ in range(5)]
    first = alice.get("/jobs?limit=3").json
    assert [job["id"] for job in first["items"]] == ids[:1:-1]
    rest = alice.get(f"/jobs?limit=3&after={first['next']}").json
    assert [job["id"] for job in rest["items"]] == ids[1::-1]
    assert rest["next"] is None


def test_lists_are_filtered(alice, work):
    named = work.training(alice, name="50% of it")
    other = work.training(alice, name="something")
    alice.post(f"/jobs/{other['id']}/cancel")

    def found(query):
        return [job["id"] for job in alice.get(f"/jobs?{query}").json["items"]]

    assert found("q=0%25+of") == [named["id"]]
    assert found("q=_") == []
    assert found("state=cancelled") == [other["id"]]
    assert found("state=cancelled,queued") == [other["id"], named["id"]]
    assert found(f"dataset_id={named['dataset_id']}") == [named["id"]]
    assert found("kind=generate") == []
    assert found("created_after=2020-01-01T00:00:00Z") == [other["id"], named["id"]]
    assert found("created_after=2999-01-01T00:00:00Z") == []
    assert alice.get("/jobs?created_after=yesterday").status_code == 422
    assert alice.get("/jobs?limit=201").status_code == 422
    assert alice.get("/jobs?colour=red").status_code == 422


def test_a_deleted_job_is_gone_with_its_files(alice, work, studio):
    artifact_id = work.artifact(alice)
    artifact = alice.get(f"/artifacts/{artifact_id}").json
    job_id = artifact["job_id"]
    assert alice.delete(f"/jobs/{job_id}").status_code == 204
    assert alice.get(f"/jobs/{job_id}").status_code == 404
    assert alice.get(f"/artifacts/{artifact_id}").status_code == 404
    assert list(studio.storage.keys(f"artifacts/{job_id}")) == []


def test_deleting_a_running_job_cancels_it(alice, work, studio):
    job = work.training(alice)
    work.claim()
    assert alice.delete(f"/jobs/{job['id']}").status_code == 204
    with studio.db.reading() as session:
        row = session.get_one(Job, job["id"])
        assert row.state == "running"
        assert row.cancel_requested_at


def test_deleting_what_others_wait_for_is_refused_unless_forced(alice, work):
    training = work.training(alice)
    child = alice.post("/jobs", json={"kind": "generate", "waits_for": training["id"]}).json
    answer = alice.delete(f"/jobs/{training['id']}")
    assert (answer.status_code, answer.json["code"]) == (409, "in_use")
    assert answer.json["dependents"] == [{"type": "job", "id": child["id"]}]
    assert alice.delete(f"/jobs/{training['id']}?force=1").status_code == 204


def test_a_full_disk_refuses_before_anything_is_queued(alice, work, studio, monkeypatch):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    monkeypatch.setattr(disk, "usage", lambda _: {"free_percent": 1.0})
    answer = alice.post("/jobs", json=body)
    assert (answer.status_code, answer.json["code"]) == (507, "storage_full")


def test_the_quota_of_queued_jobs_is_kept(alice, work, studio):
    from shared.models import Quota

    with studio.db.writing() as session:
        session.get_one(Quota, alice.user.id).max_queued_jobs = 2
    dataset_id = work.dataset(alice)
    for _ in range(2):
        work.training(alice, dataset_id=dataset_id)
    body = {"kind": "train", "family": "toy", "dataset_id": dataset_id}
    answer = alice.post("/jobs", json=body)
    assert (answer.status_code, answer.json["code"]) == (409, "quota_exceeded")


def test_a_missing_job_is_not_found(alice):
    for path in ("/jobs/nothing", "/jobs/..%2f..%2fetc", "/jobs/%00"):
        assert alice.get(path).status_code == 404
    assert NotFound.status == 404
