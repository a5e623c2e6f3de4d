"""The cpu worker: short tasks are run from SQL, with Redis or without, and never twice at a time."""

from __future__ import annotations

import threading

import pytest

from shared import short_tasks
from shared.errors import StorageAway, StorageFull
from shared.models import ShortTask, Worker
from shared.queue import Wakeups
from tests.servers import wait_until
from tests.work import WorkerProcess
from worker import tasks
from worker.tasks import TaskRunner


def add(db, name="sweep"):
    with db.writing() as session:
        return short_tasks.add(session, name, {}).id


def state(db, task_id):
    with db.reading() as session:
        return session.get(ShortTask, task_id).state


@pytest.fixture
def beats():
    """Grows with every sign of life."""
    return []


@pytest.fixture
def runner(settings, beats):
    made = TaskRunner(settings, "cpu-0.test", beat=lambda: beats.append(1))
    yield made
    made.stop(10)


def test_due_tasks_are_run_without_any_wakeup(db, runner):
    ids = [add(db) for _ in range(3)]
    runner.start()
    for task in ids:
        wait_until(lambda t=task: state(db, t) == "done", what="the task")


def test_a_task_that_raises_is_tried_three_times(db, runner, monkeypatch):
    calls = []

    def broken(*_):
        calls.append(1)
        raise ValueError("no luck")

    monkeypatch.setitem(tasks.HANDLERS, "sweep", broken)
    monkeypatch.setattr(short_tasks, "BACKOFF_SECONDS", 0.01)
    task = add(db)
    runner.start()
    wait_until(lambda: state(db, task) == "failed", what="the failure")
    assert len(calls) == short_tasks.STRIKES


@pytest.mark.parametrize("error", [StorageFull(), StorageAway(), OSError(28, "no space")])
def test_a_full_disk_or_a_storage_that_is_away_is_no_fault_of_the_task(
    db, runner, monkeypatch, error
):
    calls = []

    def without_room(*_):
        calls.append(1)
        if len(calls) <= 2 * short_tasks.STRIKES:
            raise error

    monkeypatch.setitem(tasks.HANDLERS, "sweep", without_room)
    monkeypatch.setattr(tasks, "WAITS", dict.fromkeys(tasks.WAITS, 0.01))
    task = add(db)
    runner.start()
    wait_until(lambda: state(db, task) == "done", what="the task")
    assert len(calls) == 2 * short_tasks.STRIKES + 1


def test_a_name_that_nobody_knows_fails_and_others_run(db, runner, monkeypatch):
    monkeypatch.setattr(short_tasks, "BACKOFF_SECONDS", 0.01)
    strange, known = add(db, "strange"), add(db)
    runner.start()
    wait_until(lambda: state(db, known) == "done", what="the known one")
    wait_until(lambda: state(db, strange) == "failed", what="the strange one")


def test_a_long_task_keeps_its_lease_and_gives_signs_of_life(db, runner, monkeypatch, beats):
    monkeypatch.setattr(tasks, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(tasks, "RENEW_SECONDS", 0.1)
    go_on, started = threading.Event(), []

    def slow(*_):
        started.append(1)
        go_on.wait(20)

    monkeypatch.setitem(tasks.HANDLERS, "sweep", slow)
    task = add(db)
    runner.start()
    wait_until(lambda: started, what="the start")
    with db.reading() as session:
        first = session.get(ShortTask, task).lease_until

    def renewed():
        with db.reading() as session:
            return session.get(ShortTask, task).lease_until > first

    before = len(beats)
    wait_until(renewed, what="a renewal")
    wait_until(lambda: len(beats) > before, what="a sign of life")
    go_on.set()
    wait_until(lambda: state(db, task) == "done", what="the task")
    assert len(started) == 1


def test_a_cpu_worker_process_runs_tasks_and_drains(db, make_settings, database_url, valkey):
    settings = make_settings(database_url=database_url, redis_url=valkey.url)
    wakeups = Wakeups(settings)
    worker = WorkerProcess(settings, "cpu-0", kind="cpu")
    try:
        task = add(db)
        wakeups.tasks()
        wait_until(lambda: state(db, task) == "done", what="the task")
        with db.reading() as session:
            [row] = session.query(Worker).all()
            assert (row.kind, row.state) == ("cpu", "ready")
        worker.look()
        worker.term()
        assert worker.wait(45) == 0
        with db.reading() as session:
            assert session.query(Worker).one().state == "gone"
    finally:
        wakeups.close()
        worker.end()
