"""/events: which jobs have ended, for who wants to be told of all of them."""

from __future__ import annotations

import json

import pytest

from web.api import ended


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ended, "LOOK_SECONDS", 0.01)


def test_what_has_ended_is_told_once_and_only_to_its_owner(alice, bob, work):
    first = alice.get("/events").json
    assert (first["items"], first["active"]) == ([], 0)
    job = work.training(alice, name="mine")
    assert alice.get(f"/events?after={first['next']}").json["active"] == 1
    (row,) = work.claim()
    work.succeed(row)
    found = alice.get(f"/events?after={first['next']}").json
    (one,) = found["items"]
    assert (one["job_id"], one["state"], one["name"]) == (job["id"], "succeeded", "mine")
    assert found["active"] == 0
    assert alice.get(f"/events?after={found['next']}").json["items"] == []
    assert bob.get(f"/events?after={first['next']}").json["items"] == []


def test_the_stream_tells_and_ends_when_nothing_is_left(alice, work):
    start = alice.get("/events").json["next"]
    ids = [work.training(alice)["id"] for _ in range(3)]
    for row in work.claim():
        work.succeed(row)
    for job_id in ids:
        alice.post(f"/jobs/{job_id}/cancel")
    headers = {"Accept": "text/event-stream"}
    text = alice.get(f"/events?after={start}", headers=headers).text
    told = [
        json.loads(line.removeprefix("data: "))["job_id"]
        for line in text.splitlines()
        if line.startswith("data: ") and "job_id" in json.loads(line.removeprefix("data: "))
    ]
    assert sorted(told) == sorted(ids)
    assert "event: idle" in text
    last = [line for line in text.splitlines() if line.startswith("id: ")][-1]
    headers["Last-Event-ID"] = last.removeprefix("id: ")
    assert "event: ended" not in alice.get(f"/events?after={start}", headers=headers).text


def test_nonsense_is_refused(alice):
    for strange in ("x", "1-../x", "-", "1e9-a", "9" * 40 + "-"):
        assert alice.get(f"/events?after={strange}").status_code == 422, strange
