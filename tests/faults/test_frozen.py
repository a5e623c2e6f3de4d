"""A worker's child that freezes, stopped from outside or hung, is killed by its main: nobody waits for it for ever."""

from __future__ import annotations

import time

import psutil
import pytest

from shared.db import Database
from tests import oracle
from tests.conftest import make_tables
from tests.faults.conftest import Bench
from tests.servers import PostgresServer, wait_until
from tests.work import FAMILIES, is_alive

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
FROZEN_SECONDS = 20  # the least that the setting takes


@pytest.fixture
def overrides():
    return {"frozen_seconds": FROZEN_SECONDS}


@ONE_DATABASE
def test_a_child_that_is_stopped_inside_a_transaction_gives_the_database_back(bench):
    """Stopped, it holds SQLite's one write lock: without its end nothing would be accepted, claimed or reaped again."""
    job = bench.generate()
    frozen = bench.worker(failpoint="in_publish:stop:1")
    child, runner = frozen.child(), frozen.runner()
    wait_until(lambda: child.status() == psutil.STATUS_STOPPED, 60, "the child to stop itself")
    bench.worker("device-1")
    found = bench.wait(job, seconds=120)
    assert (found.state, found.losses, found.strikes) == ("succeeded", 1, 0)
    assert not is_alive(child) and not is_alive(runner)
    assert "made no turn" in frozen.log.read_text()
    assert bench.wait(bench.generate()).state == "succeeded"


@pytest.mark.slow
def test_a_supervisor_that_hangs_is_replaced(bench):
    job = bench.generate()
    worker = bench.worker(failpoint="after_claim:hang:1")
    hung = worker.child()
    wait_until(lambda: not is_alive(hung), 120, "the child to be killed")
    assert bench.wait(job, seconds=60).state == "succeeded"
    assert worker.child().pid != hung.pid


@pytest.mark.slow
@ONE_DATABASE
def test_a_database_that_stays_locked_kills_nobody(bench):
    worker = bench.worker()
    assert bench.wait(bench.generate()).state == "succeeded"
    child, until = worker.child(), time.monotonic() + FROZEN_SECONDS * 1.5
    with bench.db.writing():
        wait_until(lambda: time.monotonic() > until or not is_alive(child), 60, "the time to pass")
    assert bench.wait(bench.generate()).state == "succeeded"
    assert worker.child() == child


@pytest.mark.slow
def test_a_database_that_is_down_kills_nobody(make_settings, valkey):
    server = PostgresServer()
    try:
        server.start()
        server.execute("CREATE DATABASE frozen")
        url = server.url("frozen")
        make_tables(url)
        settings = make_settings(
            database_url=url,
            redis_url=valkey.url,
            family_path=str(FAMILIES),
            families="sleep_steps",
            frozen_seconds=FROZEN_SECONDS,
        )
        bench = Bench(settings, Database(url), valkey)
        worker = bench.worker()
        assert bench.wait(bench.generate()).state == "succeeded"
        child = worker.child()
        server.kill()
        until = time.monotonic() + FROZEN_SECONDS * 1.5
        wait_until(lambda: time.monotonic() > until or not is_alive(child), 60, "the time to pass")
        server.start()
        assert bench.wait(bench.generate(), seconds=60).state == "succeeded"
        assert worker.child() == child
        bench.end()
        oracle.check(bench, valkey)
        bench.db.dispose()
    finally:
        server.remove()
