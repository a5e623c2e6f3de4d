"""The cpu worker: short tasks are run from SQL, with Redis or without, and never twice at a time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy.exc import InterfaceError, OperationalError

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


def sqlite_full():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    return OperationalError("INSERT", {}, error)


@pytest.mark.parametrize(
    "error",
    [
        StorageFull(),
        StorageAway(),
        OSError(28, "no space"),
        sqlite_full(),
        OperationalError("INSERT", {}, psycopg.errors.DiskFull("no space")),
        OperationalError("SELECT", {}, psycopg.errors.AdminShutdown("terminating")),
        InterfaceError("SELECT", {}, psycopg.InterfaceError("the connection is closed")),
    ],
)
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


def test_a_task_gets_no_strike_while_its_end_cannot_be_written(db, runner, monkeypatch):
    """As when the database goes away under the handler, and is still away after it."""
    real, away, calls = runner._db.writing, [], []

    @contextmanager
    def writing():
        if away:
            away.pop()
            raise OperationalError("BEGIN", {}, psycopg.OperationalError("connection refused"))
        with real() as session:
            yield session

    def unlucky(*_):
        calls.append(1)
        if len(calls) == 1:
            away.extend(range(3))
            raise OperationalError("SELECT", {}, psycopg.OperationalError("connection lost"))

    monkeypatch.setattr(runner._db, "writing", writing)
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(tasks, "WAITS", dict.fromkeys(tasks.WAITS, 0.01))
    monkeypatch.setitem(tasks.HANDLERS, "sweep", unlucky)
    task = add(db)
    runner.start()
    wait_until(lambda: state(db, task) == "done", what="the task")
    with db.reading() as session:
        assert session.get(ShortTask, task).strikes == 1  # of the claim that did it


def test_a_claim_that_waited_for_a_migration_is_taken_back(db, settings, monkeypatch):
    runner = TaskRunner(settings, "cpu-0.test")
    answers = [True, False]  # before the claim, and in its transaction
    monkeypatch.setattr(runner._schema, "fits", lambda _session: answers.pop(0))
    task = add(db)
    assert runner._claim() is None and not answers
    runner._db.dispose()
    with db.reading() as session:
        row = session.get(ShortTask, task)
        assert (row.state, row.strikes, row.fence) == ("queued", 0, 0)


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
