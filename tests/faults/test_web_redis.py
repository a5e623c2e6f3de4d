"""Faults 30, 32 and 35: whatever becomes of Redis, a submit is answered with 202, and its job runs once."""

from __future__ import annotations

import signal
from contextlib import contextmanager

import pytest

from tests.faults.person import Person, over_http
from tests.web.live import WebProcess

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SUBMITS = 15
# Who waits for Redis for good gets no answer within it.
ANSWER_SECONDS = 10


@contextmanager
def killed(valkey):
    valkey.kill()
    yield
    valkey.start()


@contextmanager
def stopped(valkey):
    valkey.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        valkey.process.send_signal(signal.SIGCONT)


@contextmanager
def full(valkey):
    with valkey.client() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@pytest.fixture
def person(own_bench):
    web = WebProcess(own_bench.settings)
    yield Person(own_bench, over_http(web, ANSWER_SECONDS))
    web.kill()


@ONE_DATABASE
@pytest.mark.parametrize("trouble", [killed, stopped, full])
def test_submits_are_accepted_whatever_becomes_of_redis(own_bench, own_valkey, person, trouble):
    worker = own_bench.worker()
    worker.wait_log("ready.")
    assert person.submit() == 202
    own_bench.wait(person.accepted[0], "succeeded")
    with trouble(own_valkey):
        assert [person.submit() for _ in range(SUBMITS)] == [202] * SUBMITS
    assert person.submit() == 202
    for job in person.accepted:
        found = own_bench.wait(job)
        assert (found.state, found.attempt) == ("succeeded", 1)
    own_bench.assert_wakeups_are_taken()
    person.check()
