"""What the supervisor's thread says to SQL, and what it must not lose when SQL does not answer."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from shared.job_records import Lease
from shared.scheduling import LANES
from tests.work import Work
from worker import link
from worker.held import Held, Phase
from worker.leases import Leases
from worker.presence import Presence


@pytest.fixture
def work(settings, db):
    return Work(settings, db)


@pytest.fixture
def leases(work):
    presence = Presence("w", "device")
    presence.versions = {"sleep_steps": 1}
    return Leases(work.settings, work.db, presence)


def held(work, job) -> Held:
    found = Held(job, Lease(job.id, job.fence), work.settings.data / "runs" / "w")
    found.phase = Phase.RUNNING
    return found


def test_what_was_claimed_is_taken_even_if_the_next_claim_fails(work, leases, monkeypatch):
    generation = work.generate()
    work.train()
    real, calls = work.db.writing, []

    @contextmanager
    def away_the_second_time():
        calls.append(1)
        if len(calls) > 1:
            raise OperationalError("BEGIN", {}, Exception("the server is away"))
        with real() as session:
            yield session

    monkeypatch.setattr(work.db, "writing", away_the_second_time)
    taken = []
    with pytest.raises(OperationalError):
        for job in leases.claim([], LANES):
            taken.append(job.id)
    assert taken == [generation]


def test_only_lanes_with_work_are_claimed(work, leases, monkeypatch):
    """Each claim takes SQLite's one write lock, also one that finds nothing."""
    assert leases.look([], room=True).lanes == ()
    generation = work.generate()
    assert leases.look([], room=False).lanes == ()
    found = leases.look([], room=True).lanes
    assert found == ("interactive",)
    real, calls = work.db.writing, []
    monkeypatch.setattr(work.db, "writing", lambda: calls.append(1) or real())
    assert [job.id for job in leases.claim([], found)] == [generation]
    assert len(calls) == 1


def test_a_report_that_cannot_be_written_does_not_stop_the_heartbeat(work, leases, monkeypatch):
    work.generate()
    [job] = list(leases.claim([], LANES))
    mine = held(work, job)
    mine.pending.add(link.Log(job=mine.key, text="hello"))
    before = work.job(job.id).lease_until

    def overflow(*_, **__):
        raise OverflowError("Python int too large to convert to SQLite INTEGER")

    monkeypatch.setattr("worker.leases.jobs.report", overflow)
    [(answered, flags)] = leases.write([mine], 1e9, "ready")
    assert answered is mine and flags is not None
    assert work.job(job.id).lease_until >= before


def test_of_another_schema_nothing_is_asked_but_to_drain(work, leases, monkeypatch):
    job = work.job(work.generate())
    monkeypatch.setattr(leases._schema, "fits", lambda _session: False)

    def fails(*_):
        raise OperationalError("SELECT", {}, Exception("no such column"))

    for name in ("_flags", "_room"):
        monkeypatch.setattr(leases, name, fails)
    monkeypatch.setattr(leases._presence, "drain_requested", fails)
    seen = leases.look([held(work, job)], room=True)
    assert seen.drain and not seen.lanes and not seen.flags


def test_a_small_picture_beside_an_item_makes_no_room_of_its_own():
    from worker.supervisor import Supervisor

    mine = Held(SimpleNamespace(kind="generate", params={"count": 3}), Lease("a", 1), None)
    supervisor = SimpleNamespace(
        _publisher=SimpleNamespace(output=lambda held, message: None),
        _leases=SimpleNamespace(more=False),
    )
    for role in ("output", "thumbnail"):
        said = link.Output(
            job="a.1", index=0, role=role, name="0", file="0", media_type="image/png", seed=1
        )
        Supervisor._said_of(supervisor, mine, said)
    assert mine.items == 2


def test_a_job_that_the_runner_forgot_is_struck(make_settings):
    from worker import supervisor as module

    closed = []
    mine = Held(SimpleNamespace(kind="train", params={}), Lease("a", 1), None)
    mine.phase, mine.sent, mine.heard = Phase.RUNNING, True, True
    watcher = SimpleNamespace(
        _working=lambda: [mine],
        _settings=make_settings(),
        _close=lambda held, ending: closed.append(held),
    )
    find = module.Supervisor._find_forgotten
    find(watcher, set(), 100.0)
    find(watcher, {"a.1"}, 109.0)  # it lay in the link: here it is
    find(watcher, set(), 112.0)
    find(watcher, set(), 121.0)
    assert not closed
    find(watcher, set(), 113.0 + module.FORGOTTEN_SECONDS)
    assert closed == [mine]
