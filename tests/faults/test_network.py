"""Faults 11, 32, 35, 37, 44: answers of the database that never come; a Redis that stalls, is full, or locks us out."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import select, update

from shared.db import Database
from shared.models import Job
from shared.queue import Wakeups
from tests import oracle
from tests.conftest import make_tables
from tests.faults.conftest import Bench
from tests.proxy import Proxy
from tests.servers import wait_until
from tests.work import FAMILIES, is_alive

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


# ---- PostgreSQL behind a line that fails


@pytest.fixture
def line(postgres):
    with Proxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def line_bench(postgres, line, make_settings, valkey, request):
    """A workbench whose workers reach PostgreSQL through the proxy; the test itself has a line of its own."""
    name = f"line_{abs(hash(request.node.name)) % 10**9}"
    postgres.execute(f"CREATE DATABASE {name}")
    url = postgres.url(name)
    make_tables(url)
    db = Database(url)
    settings = make_settings(
        database_url=url.replace(f":{postgres.port}/", f":{line.port}/"),
        redis_url=valkey.url,
        family_path=str(FAMILIES),
        families="sleep_steps",
        lease_seconds=6,
    )
    made = Bench(settings, db, valkey)
    yield made
    made.end()
    oracle.check(made, made.valkey)
    db.dispose()
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_commit_whose_answer_is_lost_is_looked_up_and_never_made_twice(line_bench, line):
    """The commit that publishes the result applies, and the worker does not hear so."""
    worker = line_bench.worker()
    line.cut_reply_to(b"COMMIT", after=b"INSERT INTO result")
    found = line_bench.wait(line_bench.generate(steps=20, step_seconds=0.05), seconds=60)
    assert (found.state, found.attempt, found.strikes) == ("succeeded", 1, 0)
    wait_until(
        lambda: line.cuts == 1 and "not written yet" in worker.log.read_text(), 20, "the cut"
    )
    # what it looked up is that it was written: the next job is not in the way of this one
    assert line_bench.wait(line_bench.generate()).state == "succeeded"


def test_a_silent_line_to_the_database_costs_an_attempt_at_most(line_bench, line):
    job = line_bench.train(steps=60, step_seconds=0.05)
    worker = line_bench.worker()
    line_bench.wait_checkpoint(job)
    runner = worker.runner()
    line.silence()
    # nobody can renew the lease: the runner has to go before it ends
    lease_seconds = line_bench.settings.lease_seconds
    wait_until(lambda: not is_alive(runner), lease_seconds, "the runner to be killed in time")
    line.reset()
    line.speak()
    found = line_bench.wait(job, seconds=90)
    assert (found.state, found.strikes) == ("succeeded", 0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_row_that_somebody_locks_does_not_keep_others_from_being_claimed(bench):
    bench.worker()
    assert bench.wait(bench.generate()).state == "succeeded"
    bench.ask_drain(True)
    wait_until(lambda: bench.worker_states() == {"draining"}, what="a worker that claims nothing")
    locked = bench.generate(steps=1, step_seconds=0)
    others = [bench.generate(steps=1, step_seconds=0) for _ in range(3)]
    with bench.db.writing() as session:
        session.execute(update(Job).where(Job.id == locked).values(name="held"))
        bench.ask_drain(False)
        for other in others:
            assert bench.wait(other).state == "succeeded"
        assert session.scalar(select(Job.state).where(Job.id == locked)) == "queued"
    assert bench.wait(locked).state == "succeeded"


# ---- Redis


@ONE_DATABASE
def test_a_stalled_redis_delays_nothing_that_was_accepted_and_doubles_nothing(
    own_bench, own_valkey
):
    own_bench.worker()
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    wakeups = Wakeups(own_bench.settings)
    own_valkey.process.send_signal(signal.SIGSTOP)
    try:
        jobs = []
        for _ in range(20):
            jobs.append(own_bench.generate(steps=1, step_seconds=0))
            wakeups.wake("interactive")  # returns although nobody answers
        for job in jobs:
            assert own_bench.wait(job).state == "succeeded"
    finally:
        own_valkey.process.send_signal(signal.SIGCONT)
    wakeups.close()
    later = own_bench.generate()
    assert own_bench.wait(later).state == "succeeded"
    assert {own_bench.job(job).attempt for job in [*jobs, later]} == {1}
    own_bench.assert_wakeups_are_taken()


@ONE_DATABASE
@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "command not allowed when used memory"),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), "NOREPLICAS"),
        (("ACL", "SETUSER", "default", "resetpass", ">rotated"), "Authentication required"),
    ],
    ids=["full", "read-only", "locked-out"],
)
def test_a_redis_that_takes_nothing_costs_a_poll(own_bench, own_valkey, trouble, told):
    worker = own_bench.worker()
    worker.wait_log("ready.", 60)
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    wakeups = Wakeups(own_bench.settings)
    with own_valkey.client() as client:
        client.execute_command(*trouble)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        jobs = [own_bench.generate(steps=1, step_seconds=0) for _ in range(5)]
        wakeups.wake("interactive")
        for job in jobs:
            assert own_bench.wait(job).state == "succeeded"
        worker.wait_log(told, 60)
        for setting, value in (("maxmemory", "0"), ("min-replicas-to-write", "0")):
            client.execute_command("CONFIG", "SET", setting, value)
        client.execute_command("ACL", "SETUSER", "default", "nopass")
    wakeups.close()
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    own_bench.assert_wakeups_are_taken()
