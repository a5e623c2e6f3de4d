"""What main sees of its children and of its queues."""

from __future__ import annotations

import os

import psutil
import pytest

from worker import app, consumer_watch
from worker.app import WorkerApp
from worker.consumer_watch import ConsumerWatch
from worker.pulse import Pulse


@pytest.fixture
def worker(make_settings):
    return WorkerApp(make_settings(), "device", "device-0")


class Child:
    def __init__(self, pid, status=psutil.STATUS_SLEEPING):
        self.pid, self._status = pid, status

    def status(self):
        if self._status is None:
            raise psutil.NoSuchProcess(self.pid)
        return self._status


def test_a_child_that_is_reaped_meanwhile_hides_no_other(monkeypatch):
    me = psutil.Process()
    children = [Child(1, None), Child(2, psutil.STATUS_ZOMBIE), Child(3)]
    monkeypatch.setattr(me, "children", lambda: children)
    assert [child.pid for child in app._living(me)] == [3]


def test_a_frozen_child_that_ends_by_itself_ends_no_watch(worker, monkeypatch):
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitpid(gone, 0)
    monkeypatch.setattr(worker.pulse, "frozen", lambda pids, looks: [gone])
    worker._kill_frozen([])


def test_the_watch_goes_on_after_a_look_that_failed(worker, monkeypatch, caplog):
    looks = []

    class Ended(BaseException):
        pass

    def living(_process):
        looks.append(1)
        if len(looks) == 3:
            raise Ended
        raise RuntimeError("as if /proc had answered oddly")

    monkeypatch.setattr(app, "_living", living)
    monkeypatch.setattr(app, "LOOK_SECONDS", 0.01)
    with pytest.raises(Ended):
        worker._watch_children()
    assert caplog.text.count("could not look at the children") == 2


def test_a_pulse_counts_while_some_child_does():
    pulse = Pulse(2)
    assert not pulse.is_counting(3)
    pulse.begin(0)
    for _ in range(4):
        pulse.frozen([os.getpid()], 100)
    assert pulse.is_counting(3)
    pulse.frozen([os.getpid()], 100)
    assert not pulse.is_counting(3)
    pulse.beat()
    pulse.frozen([os.getpid()], 100)
    assert pulse.is_counting(3)


def test_a_queue_that_stands_still_is_judged_only_while_a_child_works(
    make_settings, valkey, monkeypatch
):
    settings = make_settings(redis_url=valkey.url)
    watch = ConsumerWatch(settings, ["q"])
    with valkey.client() as client:
        client.lpush(f"{settings.redis_prefix}q", "message")
    clock = [100.0]
    monkeypatch.setattr(consumer_watch.time, "monotonic", lambda: clock[0])
    answers = []
    for seconds, somebody_works in [(0, True), (60, False), (1, True), (50, True), (6, True)]:
        clock[0] += seconds
        answers.append(watch.is_stuck(somebody_works=somebody_works))
    assert answers == [False, False, False, False, True]
