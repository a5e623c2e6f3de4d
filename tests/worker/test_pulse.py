"""What main makes of its children's counts."""

from __future__ import annotations

import os

from worker.pulse import Pulse


def looked(pulse, pids, times, looks=3):
    return [pulse.frozen(pids, looks) for _ in range(times)]


def forked(pulse, index, beats=0) -> int:
    """The pid of a child that has begun, counted on and gone."""
    pid = os.fork()
    if not pid:
        pulse.begin(index)
        for _ in range(beats):
            pulse.beat()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_child_is_frozen_when_it_stood_still_for_so_many_looks():
    pulse = Pulse(1)
    pid = forked(pulse, 0)
    assert looked(pulse, [pid], 5) == [[], [], [], [], [pid]]


def test_a_child_that_counts_is_never_frozen():
    pulse = Pulse(1)
    pulse.begin(0)
    for _ in range(10):
        pulse.beat()
        assert pulse.frozen([os.getpid()], 3) == []
    assert looked(pulse, [os.getpid()], 4) == [[], [], [], [os.getpid()]]


def test_who_has_not_begun_is_not_judged():
    assert looked(Pulse(1), [12345], 20) == [[]] * 20


def test_each_child_has_its_own_place_and_who_replaces_one_takes_it():
    pulse = Pulse(2)
    first, second = forked(pulse, 0), forked(pulse, 1)
    looked(pulse, [first, second], 4)
    third = forked(pulse, 0, beats=1)
    assert pulse.frozen([third, second], 3) == [second]
    assert pulse.frozen([third], 3) == []
