"""Wake-ups: they reach Redis once for each lane, and nobody ever waits for them."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from shared.queue import TASKS_QUEUE, WAKE_LANES, Wakeups, celery_app, wake_key, wake_queue
from tests.servers import ValkeyServer, wait_until


@pytest.fixture
def here(make_settings, valkey):
    return make_settings(redis_url=valkey.url)


@pytest.fixture
def wakeups(here):
    made = Wakeups(here)
    yield made
    made.close()


def length(client, settings, queue):
    return client.llen(settings.redis_prefix + queue)


def test_a_wakeup_lies_in_the_queue_of_its_lane(here, wakeups, valkey):
    wakeups.wake("train")
    with valkey.client() as client:
        wait_until(lambda: length(client, here, wake_queue("train")) == 1, what="the wake-up")
        assert length(client, here, wake_queue("batch")) == 0


def test_many_wakeups_of_a_lane_are_one_message_until_somebody_woke(here, wakeups, valkey):
    with valkey.client() as client:
        for _ in range(50):
            wakeups.wake("batch")
        wakeups.wake("train")
        wait_until(lambda: length(client, here, wake_queue("train")) == 1, what="the last one")
        assert length(client, here, wake_queue("batch")) == 1
        client.delete(wake_key(here, "batch"))
        wakeups.wake("batch")
        wait_until(lambda: length(client, here, wake_queue("batch")) == 2, what="the next one")


def test_short_tasks_have_a_wakeup_of_their_own(here, wakeups, valkey):
    wakeups.tasks()
    with valkey.client() as client:
        wait_until(lambda: length(client, here, TASKS_QUEUE) == 1, what="the wake-up")


def test_every_key_has_the_prefix_and_the_mark_expires(here, wakeups, valkey):
    wakeups.wake("interactive")
    with valkey.client() as client:
        wait_until(lambda: length(client, here, wake_queue("interactive")), what="the wake-up")
        assert 0 < client.ttl(wake_key(here, "interactive")) <= 10


def test_nobody_waits_for_a_redis_that_is_not_there(make_settings):
    wakeups = Wakeups(make_settings())
    began = time.monotonic()
    for _ in range(1000):
        wakeups.wake("interactive")
    assert time.monotonic() - began < 1
    wakeups.close(0.1)


def test_nobody_waits_for_a_redis_that_hangs(make_settings, tmp_path):
    server = ValkeyServer(Path(tempfile.mkdtemp(dir=tmp_path)))
    server.start()
    server.process.send_signal(signal.SIGSTOP)
    try:
        wakeups = Wakeups(make_settings(redis_url=server.url))
        began = time.monotonic()
        for _ in range(1000):
            wakeups.wake("interactive")
        assert time.monotonic() - began < 1
    finally:
        server.process.send_signal(signal.SIGCONT)
        wakeups.close()
        server.kill()


def test_wakeups_go_on_after_redis_came_back(make_settings, tmp_path):
    server = ValkeyServer(tmp_path)
    settings = make_settings(redis_url=server.url)
    wakeups = Wakeups(settings)
    wakeups.wake("train")
    server.start()
    try:
        with server.client() as client:

            def arrives():
                wakeups.wake("train")
                return length(client, settings, wake_queue("train"))

            wait_until(arrives, what="a wake-up")
    finally:
        wakeups.close()
        server.kill()


def test_a_forked_process_has_a_sender_of_its_own(here, wakeups, valkey):
    wakeups.wake("train")
    with valkey.client() as client:
        wait_until(lambda: length(client, here, wake_queue("train")) == 1, what="the first")
        pid = os.fork()
        if pid == 0:
            wakeups.wake("batch")
            wakeups.close(5)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert length(client, here, wake_queue("batch")) == 1


def test_a_queue_that_nobody_declared_is_refused(here):
    app = celery_app(here)
    assert set(app.amqp.queues) == {*map(wake_queue, WAKE_LANES), TASKS_QUEUE}
    with pytest.raises(KeyError):
        app.amqp.queues["tasks.cpuu"]


def test_redelivery_is_off_and_only_json_is_read(here):
    conf = celery_app(here).conf
    assert not conf.task_acks_late and not conf.task_reject_on_worker_lost
    assert conf.accept_content == ["json"] and conf.result_accept_content == ["json"]
    assert conf.result_backend is None and conf.task_ignore_result
    assert conf.worker_disable_prefetch and conf.worker_prefetch_multiplier == 1
    assert conf.worker_enable_remote_control is False
    assert conf.broker_connection_max_retries is None
