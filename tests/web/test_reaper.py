"""The reaper of the web process: jobs whose worker died come back, old keys and sessions go."""

from __future__ import annotations

import time

from sqlalchemy import update

from shared.models import BrowserSession, IdempotencyKey, Job
from web import reaper


def test_a_job_whose_lease_is_over_is_queued_again(alice, work, studio):
    job = work.training(alice)
    work.claim()
    with studio.db.writing() as session:
        session.execute(update(Job).values(lease_until=1.0))
    assert reaper.reap(studio) == 1
    again = alice.get(f"/jobs/{job['id']}").json
    assert again["state"] == "queued"
    assert reaper.reap(studio) == 0


def test_it_runs_by_itself_and_stops_with_the_studio(alice, work, studio):
    job = work.training(alice)
    work.claim()
    with studio.db.writing() as session:
        session.execute(update(Job).values(lease_until=1.0))
    thread = reaper.start(studio)
    until = time.monotonic() + 20
    while alice.get(f"/jobs/{job['id']}").json["state"] == "running":
        assert time.monotonic() < until
    studio.close()
    thread.join(10)
    assert not thread.is_alive()


def test_old_keys_and_dead_sessions_are_forgotten(alice, client, work, studio):
    client.get("/sign-in")
    headers = {"Idempotency-Key": "some-old-key"}
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    alice.post("/jobs", headers=headers, json=body)
    reaper.tidy(studio)
    with studio.db.writing() as session:
        assert session.query(IdempotencyKey).count() == 1
        assert session.query(BrowserSession).count() == 1
        session.execute(update(IdempotencyKey).values(created_at=1.0))
        session.execute(update(BrowserSession).values(expires_at=1.0))
    reaper.tidy(studio)
    with studio.db.reading() as session:
        assert session.query(IdempotencyKey).count() == 0
        assert session.query(BrowserSession).count() == 0
