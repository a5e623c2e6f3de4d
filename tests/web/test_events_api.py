"""Events, metrics and logs: as JSON, as a stream that can be resumed, thinned."""

from __future__ import annotations

import json
import threading

import pytest

from web.services import events
from web.services.curves import thinned

STREAM = {"Accept": "text/event-stream"}


def frames(text):
    """The events of a stream: (id, type, data)."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")
        )
        if "id" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


@pytest.fixture
def finished(alice, work):
    job = work.training(alice)
    (row,) = work.claim()
    work.report(row, step=1, total=2, points=[[1, 0.1, {"loss": 1.0}]], log="hello\n")
    work.succeed(row)
    return job["id"]


def test_events_are_told_in_order_and_in_pages(alice, finished):
    everything = alice.get(f"/jobs/{finished}/events").json
    types = [event["type"] for event in everything["items"]]
    assert types == ["state", "state", "progress", "metrics", "log", "result", "state"]
    assert [event["n"] for event in everything["items"]] == list(range(1, 8))
    assert everything["next"] is None
    page = alice.get(f"/jobs/{finished}/events?after=2&limit=3").json
    assert [event["n"] for event in page["items"]] == [3, 4, 5]
    assert page["next"] == 5
    assert alice.get(f"/jobs/{finished}/events?after=x").status_code == 422


def test_a_stream_tells_the_same_and_ends_with_the_job(alice, finished):
    answer = alice.get(f"/jobs/{finished}/events", headers=STREAM)
    assert answer.mimetype == "text/event-stream"
    told = frames(answer.text)
    listed = alice.get(f"/jobs/{finished}/events").json["items"]
    assert [data for _, _, data in told] == listed
    assert [n for n, _, _ in told] == [event["n"] for event in listed]
    assert told[-1][1] == "state"


def test_a_stream_goes_on_after_the_last_event_seen(alice, finished):
    headers = {**STREAM, "Last-Event-ID": "5"}
    told = frames(alice.get(f"/jobs/{finished}/events", headers=headers).text)
    assert [n for n, _, _ in told] == [6, 7]
    headers["Last-Event-ID"] = "7"
    assert alice.get(f"/jobs/{finished}/events", headers=headers).status_code == 204


def test_a_stream_tells_what_happens_while_it_is_open(alice, work, studio):
    job = work.training(alice)
    (row,) = work.claim()
    answer = alice.get(f"/jobs/{job['id']}/events", headers=STREAM, buffered=False)
    lines = answer.iter_encoded()
    read = b""
    while b'"running"' not in read:
        read += next(lines)

    def more():
        work.report(row, step=1, total=2)
        work.succeed(row)

    thread = threading.Thread(target=more)
    thread.start()
    for line in lines:
        read += line
    thread.join()
    answer.close()
    assert [kind for _, kind, _ in frames(read.decode())][2:] == ["progress", "result", "state"]
    assert studio.feed.slots.taken == 0


def test_a_silent_stream_is_kept_alive_and_ends_after_a_while(alice, work, monkeypatch):
    job = work.training(alice)
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.2)
    monkeypatch.setattr(events, "STREAM_SECONDS", 0.7)
    text = alice.get(f"/jobs/{job['id']}/events", headers=STREAM).text
    assert ": still here" in text
    assert [n for n, _, _ in frames(text)] == [1]


def all_slots(studio, person, **how):
    return list(iter(lambda: studio.feed.slots.take(person.user.id, **how), None))


def test_too_many_streams_are_refused_and_polling_goes_on(alice, work, studio):
    job = work.training(alice)
    taken = all_slots(studio, alice)
    assert len(taken) == studio.settings.event_streams
    answer = alice.get(f"/jobs/{job['id']}/events", headers=STREAM)
    assert (answer.status_code, answer.json["code"]) == (503, "too_many_streams")
    assert answer.headers["Retry-After"]
    assert alice.get(f"/jobs/{job['id']}/events").status_code == 200
    # a long poll answers at once instead of waiting
    assert alice.get(f"/jobs/{job['id']}?wait=60").status_code == 200
    studio.feed.slots.give(taken.pop())
    answer = alice.get(f"/jobs/{job['id']}/events", headers=STREAM, buffered=False)
    assert answer.status_code == 200
    answer.close()
    assert studio.feed.slots.taken == len(taken)


def test_whoever_holds_all_streams_ends_one_for_another(alice, bob, work, studio):
    """A stream in the middle of its waiting ends at once; a long poll answers with what there is."""
    job = work.training(alice)
    stream = alice.get(f"/jobs/{job['id']}/events", headers=STREAM, buffered=False)
    lines = stream.iter_encoded()
    next(lines)
    taken = all_slots(studio, alice)

    def follow():
        for _ in lines:
            pass
        stream.close()

    thread = threading.Thread(target=follow)
    thread.start()
    own = work.training(bob)
    answer = bob.get(f"/jobs/{own['id']}/events", headers=STREAM, buffered=False)
    assert answer.status_code == 200
    thread.join(10)
    assert not thread.is_alive()
    assert studio.feed.slots.taken == len(taken) + 1 == studio.settings.event_streams
    answer.close()
    # alice, who has the most still, takes none of bob's
    bobs = all_slots(studio, bob)
    assert len(bobs) == 1
    assert alice.get(f"/jobs/{job['id']}/events", headers=STREAM).status_code == 503


def test_a_deleted_job_ends_its_stream(alice, work, monkeypatch):
    job = work.training(alice)
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.2)
    answer = alice.get(f"/jobs/{job['id']}/events", headers=STREAM, buffered=False)
    lines = answer.iter_encoded()
    next(lines)
    alice.delete(f"/jobs/{job['id']}")
    list(lines)
    answer.close()


def test_the_log_is_text(alice, finished):
    answer = alice.get(f"/jobs/{finished}/log")
    assert answer.mimetype == "text/plain"
    assert answer.text == "hello\n"


def test_metrics_are_series(alice, finished):
    assert alice.get(f"/jobs/{finished}/metrics").json == {"series": {"loss": [[1, 0.1, 1.0]]}}
    assert alice.get(f"/jobs/{finished}/metrics?max_points=1").status_code == 422


def test_thinning_keeps_spikes_and_the_end():
    points = [[n, n, 1.0] for n in range(10_000)]
    points[4321][2] = 99.0
    points[17][2] = -5.0
    points[500][2] = None
    for most in (2, 3, 10, 100):
        kept = thinned(points, most)
        assert len(kept) <= most
        assert kept[-1] == points[-1]
        assert [point[0] for point in kept] == sorted({point[0] for point in kept})
    values = [point[2] for point in thinned(points, 100)]
    assert 99.0 in values
    assert -5.0 in values
    assert thinned(points[:5], 5) == points[:5]
