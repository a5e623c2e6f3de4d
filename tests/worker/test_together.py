"""Generations that finish together end in one transaction, and none of them spoils another."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from shared import jobs
from shared.db import Database
from shared.errors import StorageFull
from shared.models import Artifact, UserShare
from tests.worker.test_publish import claim, closed, keys, output, publisher, rows, work
from worker import link, publish

__all__ = ["publisher", "work"]


@pytest.fixture
def together(work, publisher):
    """together([held, …]) lets all of them finish while the publisher is busy; returns the commits that took."""

    def finish(held_jobs, metrics=None):
        ready = threading.Event()
        publisher._ask(held_jobs[0], ready.wait, quick=True)
        for held in held_jobs:
            publisher.output(held, output(held, data=held.key.encode()))
            publisher.succeed(held, link.Done(job=held.key, metrics=(metrics or {}).get(held, {})))
        commits = []

        def count(connection):
            commits.append(connection)

        event.listen(work.db.engine, "commit", count)
        ready.set()
        for _ in held_jobs:
            closed(publisher)
        event.remove(work.db.engine, "commit", count)
        return len(commits)

    return finish


def generations(work, count):
    held = []
    for _ in range(count):
        held.append(claim(work, work.generate(user_id=work.another_user())))
        held[-1].used = 3.0
    return held


def states(work, held_jobs):
    return [work.job(held.lease.job_id).state for held in held_jobs]


def test_many_that_finish_at_once_take_one_commit(work, together, monkeypatch):
    monkeypatch.setattr(publish, "TOGETHER_SECONDS", 60.0)  # however slow this machine is
    held = generations(work, 6)
    assert together(held) == 1
    assert states(work, held) == ["succeeded"] * 6
    for row in rows(work, Artifact):
        data = work.storage.path_of(row.location).read_bytes()
        assert data.decode().startswith(row.job_id)
    assert not any(one.out.exists() for one in held)


def test_shares_and_tallies_are_written_once_at_the_end(work, together, monkeypatch):
    """In the middle, row by row, two publishers would lock them crosswise."""
    monkeypatch.setattr(publish, "TOGETHER_SECONDS", 60.0)
    held = generations(work, 4)
    seen = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    event.listen(work.db.engine, "before_cursor_execute", note)
    together(held)
    event.remove(work.db.engine, "before_cursor_execute", note)
    begins = max(n for n, (statement, _) in enumerate(seen) if statement.startswith("SAVEPOINT"))
    shares = [n for n, (text, _) in enumerate(seen) if text.startswith("UPDATE user_share")]
    tallied = [n for n, (text, _) in enumerate(seen) if text.startswith("INSERT INTO tally")]
    assert len(shares) == len(tallied) == 1
    assert min(shares + tallied) > begins
    users = {one.job.user_id for one in held}
    bills = seen[shares[0]][1]
    assert len(bills) == len(held) == len(users)
    assert [u for bill in bills for u in users if u in _values(bill)] == sorted(users)


def _values(parameters):
    return parameters.values() if isinstance(parameters, dict) else parameters


def test_one_bad_one_spoils_no_other(work, together):
    held = generations(work, 5)
    _, lost, cancelled, refused, _ = held
    with work.db.writing() as session:
        jobs.give_back(session, lost.lease, "test")
    work.cancel(cancelled.lease.job_id)
    # numbers that PostgreSQL's JSON does not take; SQLite takes them
    together(held, {refused: {"text": "half \ud800"}})
    found = states(work, held)
    assert found[0] == found[4] == "succeeded"
    assert found[1:3] == ["queued", "cancelled"]
    assert found[3] in ("queued", "succeeded")
    kept = {key.split("/")[1] for key in keys(work)}
    good = {
        one.lease.job_id for one, state in zip(held, found, strict=True) if state == "succeeded"
    }
    assert kept == good
    with work.db.reading() as session:
        charged = [session.get(UserShare, held[n].job.user_id).device_seconds for n in (0, 4)]
    assert charged == [3.0, 3.0]


def test_a_file_that_cannot_be_made_safe_sends_back_only_its_job(work, together, monkeypatch):
    held = generations(work, 3)
    settle = work.storage.settle

    def full(found):
        found = list(found)
        if any(held[1].lease.job_id in key for key in found):
            raise StorageFull()
        settle(found)

    monkeypatch.setattr(work.storage, "settle", full)
    together(held)
    assert states(work, held) == ["succeeded", "queued", "succeeded"]
    assert work.job(held[1].lease.job_id).strikes == 0
    assert len(keys(work)) == 2


def test_a_commit_whose_answer_was_lost_is_not_made_again(work, together, monkeypatch):
    held = generations(work, 3)
    writing, failures = Database.writing, []

    @contextmanager
    def once_unsure(self):
        with writing(self) as session:
            yield session
        if not failures:
            failures.append(1)
            raise OperationalError("COMMIT", {}, Exception("the connection broke"))

    monkeypatch.setattr(Database, "writing", once_unsure)
    together(held)
    assert failures
    assert states(work, held) == ["succeeded"] * 3
    assert len(rows(work, Artifact)) == 3
    assert len(keys(work)) == 3


def test_what_has_finished_is_written_before_the_publisher_ends(work, publisher):
    held = generations(work, 2)
    for one in held:
        publisher.output(one, output(one))
        publisher.succeed(one, link.Done(job=one.key))
    assert publisher.finish(20)
    assert states(work, held) == ["succeeded"] * 2
