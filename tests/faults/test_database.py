"""Faults 41, 42 and 45: the database goes away under running jobs, and comes back."""

from __future__ import annotations

import sqlite3
import time

import pytest

from shared.db import Database
from tests import oracle
from tests.conftest import make_tables
from tests.faults.conftest import Bench
from tests.servers import PostgresServer, wait_until
from tests.work import FAMILIES, MARK, is_alive


@pytest.fixture(scope="module")
def own_postgres():
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def lease_seconds():
    return 6


@pytest.fixture
def own_bench(own_postgres, make_settings, valkey, request, lease_seconds):
    name = f"t{abs(hash(request.node.name)) % 10**9}"
    own_postgres.execute(f"CREATE DATABASE {name}")
    url = own_postgres.url(name)
    make_tables(url)
    db = Database(url)
    settings = make_settings(
        database_url=url,
        redis_url=valkey.url,
        family_path=str(FAMILIES),
        families="sleep_steps",
        lease_seconds=lease_seconds,
    )
    made = Bench(settings, db, valkey)
    yield made
    made.end()
    oracle.check(made, made.valkey)
    db.dispose()


@pytest.mark.parametrize("lease_seconds", [20])  # long, for a machine that starts a server slowly
def test_a_short_outage_of_the_database_does_not_disturb_a_training(own_bench, own_postgres):
    job = own_bench.train(steps=120, step_seconds=0.05)
    worker = own_bench.worker()
    own_bench.wait_step(job, 5)
    runner = worker.runner()
    own_postgres.kill()
    worker.wait_log('"message": "database: ')
    own_postgres.start()
    found = own_bench.wait(job, seconds=60)
    assert (found.state, found.attempt) == ("succeeded", 1)
    assert is_alive(runner)


def test_a_long_outage_stops_the_runner_before_the_lease_ends(own_bench, own_postgres):
    """It is away until the lease is over for certain."""
    job = own_bench.train(steps=200, step_seconds=0.05, mark=MARK)
    worker = own_bench.worker()
    own_bench.wait_checkpoint(job)
    runner = worker.runner()
    own_postgres.kill()
    began = time.monotonic()
    wait_until(lambda: not is_alive(runner), 20, "the runner to be killed")
    over = began + own_bench.settings.lease_seconds
    assert time.monotonic() < over
    wait_until(lambda: time.monotonic() > over + 2, what="the end of the lease, and two seconds")
    own_postgres.start()
    found = own_bench.wait(job, seconds=90)
    assert (found.state, found.strikes, found.attempt) == ("succeeded", 0, 2)
    own_bench.assert_resumed(job, worker)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_locked_sqlite_is_waited_for(bench):
    job = bench.train(steps=60, step_seconds=0.05)
    worker = bench.worker()
    bench.wait_step(job, 5)
    other = sqlite3.connect(bench.settings.data / "atelier.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    wait_until(lambda: "locked" in worker.log.read_text(), 20, "the worker to be locked out")
    other.execute("ROLLBACK")
    other.close()
    assert bench.wait(job, seconds=60).state == "succeeded"
