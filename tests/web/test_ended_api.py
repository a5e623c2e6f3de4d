"""/events: which jobs have ended, for who wants to be told of all of them."""

from __future__ import annotations

import json

import pytest

from shared.db import clock
from shared.models import Job
from web.api import ended
from web.services import events

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ended, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(events, "SETTLE_SECONDS", -0.001)  # what has just ended, too


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


def test_an_end_that_is_seen_late_is_told_all_the_same(alice, work, studio, monkeypatch):
    monkeypatch.setattr(events, "SETTLE_SECONDS", 2.0)
    start = alice.get("/events").json["next"]
    early, late = (work.training(alice)["id"] for _ in range(2))
    rows = {row.id: row for row in work.claim()}
    work.succeed(rows[late])
    found = alice.get(f"/events?after={start}").json
    # not yet, but the stream stays open for it
    assert (found["items"], found["active"]) == ([], 2)
    # its transaction took its time first and is seen last
    work.succeed(rows[early])
    with studio.db.writing() as session:
        at = clock(session)
        session.get_one(Job, early).finished_at = at - 1.0
    told = [found["next"]]
    monkeypatch.setattr(events, "SETTLE_SECONDS", -0.001)
    seen = []
    while (found := alice.get(f"/events?after={told[-1]}").json)["items"]:
        seen += [one["job_id"] for one in found["items"]]
        told.append(found["next"])
    assert seen == [early, late]


def test_listeners_of_notices_leave_streams_to_those_who_follow_a_job(alice, work, studio):
    work.training(alice)
    slots, user_id = studio.feed.slots, alice.user.id
    taken = list(iter(lambda: slots.take(user_id, is_notice=True), None))
    assert len(taken) == studio.settings.event_streams // 4
    # the next one looks once, goes on from there a little later, and holds nothing
    one_look = alice.get("/events", headers=STREAM)
    assert one_look.status_code == 200
    assert one_look.text.startswith("retry: 10000") and "\nid: " in one_look.text
    assert (free := slots.take(user_id))
    slots.give(free)
    slots.give(taken.pop())
    answer = alice.get("/events", headers=STREAM, buffered=False)
    assert answer.status_code == 200
    answer.close()
    assert slots.take(user_id, is_notice=True)


def test_a_silent_stream_says_where_to_go_on(alice, work, monkeypatch):
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(events, "STREAM_SECONDS", 0.4)
    work.training(alice)
    text = alice.get("/events", headers=STREAM).text
    (first, *_) = [block for block in text.split("\n\n") if block.startswith(": still here")]
    assert first.splitlines()[1].startswith("id: ")


def test_nonsense_is_refused(alice):
    for strange in ("x", "1-../x", "-", "1e9-a", "9" * 40 + "-"):
        assert alice.get(f"/events?after={strange}").status_code == 422, strange
