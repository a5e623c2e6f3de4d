"""Faults 28-31, 34, 38 and 40: Redis is emptied, killed, absent, reset, or full of rubbish; work goes on."""

from __future__ import annotations

import json
import uuid

import pytest

from shared.queue import Wakeups, wake_queue
from tests.servers import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

WAKEUPS = 2000


def test_flushall_loses_nothing_that_is_queued(own_bench, own_valkey):
    own_bench.worker()
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    own_bench.ask_drain(True)
    wait_until(
        lambda: own_bench.worker_states() == {"draining"}, what="a worker that claims nothing"
    )
    jobs = [own_bench.generate(steps=1, step_seconds=0) for _ in range(1000)]
    wakeups = Wakeups(own_bench.settings)
    wakeups.wake("interactive")
    wakeups.close(10)
    with own_valkey.client() as client:
        assert client.dbsize() > 0
        client.flushall()
        assert client.dbsize() == 0
    own_bench.ask_drain(False)
    own_bench.wait(jobs[0], "running", "succeeded", seconds=10)
    for job in jobs:
        found = own_bench.wait(job, seconds=120)
        assert (found.state, found.attempt) == ("succeeded", 1)
    own_bench.assert_wakeups_are_taken()


def test_flushall_during_a_run_is_not_noticed(own_bench, own_valkey):
    job = own_bench.train(steps=40, step_seconds=0.05)
    own_bench.worker()
    for step in (2, 10, 20):
        own_bench.wait_step(job, step)
        with own_valkey.client() as client:
            client.flushall()
    found = own_bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 1)
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    own_bench.assert_wakeups_are_taken()


def test_a_job_runs_on_while_redis_is_killed_and_comes_back(own_bench, own_valkey):
    job = own_bench.train(steps=100, step_seconds=0.05)
    own_bench.worker()
    own_bench.wait_step(job, 5)
    own_valkey.kill()
    later = own_bench.generate()
    assert own_bench.wait(later).state == "succeeded"
    own_valkey.start()
    found = own_bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 1)
    own_bench.assert_wakeups_are_taken()


def test_a_worker_started_without_redis_works_and_joins_later(own_bench, own_valkey):
    own_valkey.kill()
    worker = own_bench.worker()
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    own_valkey.start()
    worker.wait_log("ready.", 60)
    own_bench.assert_wakeups_are_taken()
    assert worker.process.poll() is None


def test_reset_connections_start_nothing_twice(own_bench, own_valkey):
    workers = [own_bench.worker(f"device-{number}") for number in range(2)]
    for worker in workers:
        worker.wait_log("ready.", 60)
    job = own_bench.train(steps=80, step_seconds=0.05)
    own_bench.wait_step(job, 5)
    with own_valkey.client() as client:
        assert client.client_kill_filter(_type="normal", skipme=True) >= len(workers)
        client.client_kill_filter(_type="pubsub", skipme=True)
    for worker in workers:
        worker.wait_log("Connection to broker lost")
    own_bench.assert_wakeups_are_taken()
    found = own_bench.wait(job)
    assert (found.state, found.attempt) == ("succeeded", 1)


def test_thousands_of_wakeups_run_each_job_once(own_bench, own_valkey):
    """Messages and not calls of wake(), of which many become one."""
    key = own_bench.settings.redis_prefix + wake_queue("interactive")
    jobs = [own_bench.generate(steps=1, step_seconds=0) for _ in range(5)]
    wakeups = Wakeups(own_bench.settings)
    wakeups.wake("interactive")
    wakeups.close(10)
    with own_valkey.client() as client:
        [message] = client.lrange(key, 0, -1)
        client.lpush(key, *(another(message) for _ in range(WAKEUPS)))
        assert client.llen(key) > WAKEUPS / 2
        flooded = own_bench.worker()
        for job in jobs:
            found = own_bench.wait(job)
            assert (found.state, found.attempt) == ("succeeded", 1)
        wait_until(lambda: client.llen(key) == 0, seconds=180, what="the queue to be drained")
    calm = own_bench.worker("device-1")
    calm.wait_log("ready.", 60)  # one that was never flooded
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    # main takes the messages, the child is woken by them
    for there, here in ((flooded.main, calm.main), (flooded.child(), calm.child())):
        grown = there.memory_info().rss - here.memory_info().rss
        assert grown < 32 << 20, f"{grown >> 20} MB"


def another(message: bytes) -> str:
    """The same message as if it had been sent once more."""
    sent = json.loads(message)
    sent["headers"]["id"] = sent["properties"]["correlation_id"] = str(uuid.uuid4())
    sent["properties"]["delivery_tag"] = str(uuid.uuid4())
    return json.dumps(sent)


def test_rubbish_in_the_queue_does_not_keep_the_worker_from_working(own_bench, own_valkey):
    own_bench.worker()
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    key = own_bench.settings.redis_prefix + wake_queue("interactive")
    with own_valkey.client() as client:
        client.lpush(key, "{}", '{"body": "gA==", "headers": {}, "properties": {}}')
    assert own_bench.wait(own_bench.generate()).state == "succeeded"
    own_bench.assert_wakeups_are_taken()
