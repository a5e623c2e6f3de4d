"""Price, lane, refusal and place before anything is queued; what a broken family may do to a submit."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from sqlalchemy import update

from shared import catalog
from shared.db import clock
from shared.models import IdempotencyKey, Job, Worker
from tests.web.conftest import ANNOUNCEMENT

TRAIN = {"kind": "train", "family": "toy"}


def add_worker(studio, **facts):
    with studio.db.writing() as session:
        at = clock(session)
        times = {"started_at": at, "heartbeat_at": at, "state": "ready"}
        worker = Worker(id="w", kind="device", families={"toy": 1}, facts=facts, **times)
        session.merge(worker)


def announce(studio, kind="train", **changes):
    """The toy family with other rules or costs, as a worker of an older version may have left it."""
    announcement = deepcopy(ANNOUNCEMENT)
    announcement["actions"][kind].update(changes)
    with studio.db.writing() as session:
        catalog.announce(session, announcement)


def dry(person, **body):
    return person.post("/jobs?dry_run=1", json={**TRAIN, **body})


def test_a_dry_run_says_price_lane_place_and_defaults_and_writes_nothing(alice, work, studio):
    add_worker(studio)
    dataset_id = work.dataset(alice)
    answer = dry(alice, dataset_id=dataset_id, params={"steps": 5})
    assert answer.status_code == 200
    found = answer.json
    assert found["params"] == {"steps": 5, "width": 8, "heads": 2, "rate": 0.1}
    assert found["lane"] == "train"
    estimate = found["estimate"]
    assert estimate["basis"] == "cost model"
    assert estimate["low"] < estimate["seconds"] < estimate["high"]
    assert estimate["bytes"] == 8e6
    assert (found["queue"]["position"], found["queue"]["reason"]) == (1, "starting")
    headers = {"Idempotency-Key": "dry"}
    body = {**TRAIN, "dataset_id": dataset_id}
    assert alice.post("/jobs?dry_run=1", json=body, headers=headers).status_code == 200
    with studio.db.reading() as session:
        assert session.query(Job).count() == 0
        assert session.query(IdempotencyKey).count() == 0
    # the key was not used up
    assert alice.post("/jobs", json={**body, "seed": 1}, headers=headers).status_code == 202


def test_a_dry_run_is_refused_as_the_job_would_be(alice, work):
    answer = dry(alice, dataset_id=work.dataset(alice), params={"steps": 0})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/params/steps")
    answer = dry(alice, dataset_id="nobody's")
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (404, "/dataset_id")


def test_history_is_what_a_dry_run_rests_on(alice, work, studio):
    add_worker(studio)
    dataset_id = work.dataset(alice)
    for _ in range(3):
        assert alice.post("/jobs", json={**TRAIN, "dataset_id": dataset_id}).status_code == 202
        (row,) = work.claim()
        with studio.db.writing() as session:
            at = clock(session) - 30
            session.execute(update(Job).where(Job.id == row.id).values(started_at=at))
        work.succeed(row, model=True)
    estimate = dry(alice, dataset_id=dataset_id).json["estimate"]
    assert estimate["basis"] == "history of 3 jobs"
    assert 15 < estimate["seconds"] < 45


@pytest.mark.parametrize("limit", ["seconds", "bytes"])
def test_the_limit_itself_is_allowed_and_a_little_more_is_not(alice, work, studio, limits, limit):
    add_worker(studio, memory_bytes=8e6)
    dataset_id = work.dataset(alice)
    accepted = dry(alice, dataset_id=dataset_id)
    assert accepted.status_code == 200  # 8 wide needs exactly 8 MB
    params = {"width": 10, "steps": 1}
    if limit == "seconds":
        limits(max_job_seconds=accepted.json["estimate"]["seconds"])
        assert dry(alice, dataset_id=dataset_id).status_code == 200
        params = {"steps": 101}
    answer = dry(alice, dataset_id=dataset_id, params=params)
    assert (answer.status_code, answer.json["code"]) == (422, "too_expensive")
    assert answer.json["errors"][0]["pointer"] == "/params"


@pytest.mark.parametrize("cost", ["1e308 * width * 10", "(1e308 * width) ** 8"])
@pytest.mark.parametrize("name", ["flops", "steps", "bytes"])
def test_an_endless_price_is_refused(alice, work, studio, name, cost):
    dataset_id = work.dataset(alice)
    announce(studio, cost={"flops": "1", "bytes": "1", name: cost})
    answer = dry(alice, dataset_id=dataset_id)
    assert (answer.status_code, answer.json["code"]) == (422, "too_expensive")
    assert "inf" not in answer.json["detail"]


@pytest.mark.parametrize(
    "broken",
    ["log2(0)", "1 / 0", "width % 0", "1 / (width - 8)", "0 - 5", "sqrt(0 - 1)", "2 ** 1e9"]
    + ["'x' * 10 ** 12", "nothing", "width +", "open('x')", "1e308 * width - 1e308 * width", ""],
)
def test_a_broken_rule_or_cost_is_never_our_fault(alice, work, studio, broken):
    dataset_id = work.dataset(alice)
    announce(studio, cost={"flops": broken, "bytes": broken, "steps": broken})
    answer = dry(alice, dataset_id=dataset_id)
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        json.dumps(answer.json, allow_nan=False)
        assert answer.json["estimate"]["basis"] == "unknown"
        assert alice.post("/jobs", json={**TRAIN, "dataset_id": dataset_id}).status_code == 202
    announce(studio, rules=[[broken, "width", "is not good"]])
    answer = dry(alice, dataset_id=dataset_id)
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:
        assert answer.json["errors"] == [{"pointer": "/params/width", "message": "is not good"}]


def test_a_queued_job_says_why_it_does_not_run(alice, work, studio):
    dataset_id = work.dataset(alice)
    first = alice.post("/jobs", json={**TRAIN, "dataset_id": dataset_id}).json
    place = {"position": 1, "estimated_start_at": None, "reason": "no_worker", "waiting": None}
    assert first["queue"] == place
    add_worker(studio)
    queue = alice.get(f"/jobs/{first['id']}").json["queue"]
    assert (queue["position"], queue["reason"]) == (1, "starting")
    assert queue["estimated_start_at"]
    second = alice.post("/jobs", json={**TRAIN, "dataset_id": dataset_id}).json
    assert (second["queue"]["position"], second["queue"]["reason"]) == (2, "device_busy")
    paused = alice.post(f"/jobs/{second['id']}/pause").json["queue"]
    assert paused == dict(place, position=None, reason="paused")
    listed = {job["id"]: job for job in alice.get("/queue").json["jobs"]}
    assert listed[second["id"]]["reason"] == "paused"
    assert listed[first["id"]]["estimated_start_at"]


def test_the_page_says_it_in_words(alice, work, mine):
    dataset_id = work.dataset(alice)
    job = alice.post("/jobs", json={**TRAIN, "dataset_id": dataset_id}).json
    page = mine.get(f"/jobs/{job['id']}")
    assert "It waits for a worker that can run it" in page.text
    assert "Takes" in page.text
