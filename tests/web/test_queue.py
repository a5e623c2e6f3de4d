"""The queue: lanes, own jobs, devices and workers with what they carry, and nothing about anybody else."""

from __future__ import annotations

import pytest

from shared.db import clock
from shared.models import Job, Worker

FACTS = {"device_name": "A100", "memory_bytes": 40 << 30, "threads": 8, "flops_per_second": 1e12}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return request.getfixturevalue(name)


def add_worker(studio, worker_id, kind="device", **values):
    with studio.db.writing() as session:
        at = clock(session)
        row = {"host": "h", "device": "cuda:0" if kind == "device" else "", "state": "ready"}
        row |= {"families": {}, "facts": {}, "started_at": at, "heartbeat_at": at}
        session.add(Worker(id=worker_id, kind=kind, **(row | values)))


def test_devices_and_workers_are_shown_with_their_load(alice, bob, work, studio):
    add_worker(studio, "w", facts=FACTS, families={"toy": 1})
    add_worker(studio, "cpu.h", kind="cpu")
    add_worker(studio, "old", heartbeat_at=1.0)
    work.training(alice, name="mine")
    work.training(bob, name="a secret")
    work.claim("w")
    answer = alice.get("/queue")
    assert answer.json["lanes"]["train"] == {"queued": 0, "running": 2, "mine": 1, "others": 1}
    (device,) = answer.json["devices"]
    assert device["name"] == "A100" and device["memory_bytes"] == 40 << 30
    assert device["running"] == {"jobs": 2, "mine": 1}
    assert device["heartbeat_at"].endswith("Z")
    shown = {one["id"]: one for one in answer.json["workers"]}
    assert set(shown) == {"w", "cpu.h"}
    assert shown["cpu.h"]["running"] == {"jobs": 0, "mine": 0}
    assert [job["name"] for job in answer.json["jobs"]] == ["mine"]
    for secret in ("secret", "bob", bob.user.id):
        assert secret not in answer.text


def test_a_worker_that_says_nothing_of_itself_is_shown_without(alice, studio):
    add_worker(studio, "w", state="starting", device="")
    (device,) = alice.get("/queue").json["devices"]
    assert device["memory_bytes"] is None and device["name"] is None


def test_the_page_shows_the_device_and_what_it_runs(mine, alice, work, studio):
    add_worker(studio, "w", facts=FACTS)
    add_worker(studio, "cpu.h", kind="cpu")
    work.training(alice)
    work.claim("w")
    text = mine.get("/queue").text
    assert "A100" in text and "cpu.h" in text


def test_the_page_shows_what_runs_and_what_is_next_however_many_wait(
    mine, alice, work, studio, monkeypatch
):
    monkeypatch.setattr("web.services.queue.MOST_JOBS", 3)
    ids = [work.training(alice, name=f"job number {n}")["id"] for n in range(6)]
    with studio.db.writing() as session:
        session.get_one(Job, ids[0]).state = "running"
    page = mine.page("/queue")
    shown = [n for n in range(6) if f"job number {n}" in page.text]
    assert shown == [0, 1, 2]
    assert "first 3 of 6" in page.words
    answer = alice.get("/queue").json["jobs"]
    assert [job["id"] for job in answer] == ids[:3]
    assert answer[1]["position"] == 1 and answer[0]["position"] is None
