"""Places of those who wait: bounded, and evened out between users by who comes."""

from __future__ import annotations

import threading

import pytest

from web import slots
from web.slots import Slots


@pytest.fixture
def leaving():
    """Slots whose holders leave as soon as they are asked."""
    made = Slots(8, wake=lambda: threading.Thread(target=leave).start())

    def leave():
        for slot in [slot for slot in held if slot.leave.is_set()]:
            held.remove(slot)
            made.give(slot)

    held = []
    made.held = held
    return made


def take_all(found, user_id, **how):
    taken = 0
    while slot := found.take(user_id, **how):
        found.held.append(slot)
        taken += 1
        assert taken < 100
    return taken


def counts(found):
    return {name: sum(s.user_id == name for s in found.held) for name in "abc"}


def test_one_alone_has_them_all_and_others_even_it_out(leaving):
    assert take_all(leaving, "a") == 8
    assert take_all(leaving, "b") == 4
    assert counts(leaving) == {"a": 4, "b": 4, "c": 0}
    assert take_all(leaving, "a") == 0
    assert take_all(leaving, "c") == 2  # a third place would only change who has least
    assert leaving.taken == 8


def test_it_is_the_oldest_that_leaves(leaving):
    take_all(leaving, "a")
    first = leaving.held[0]
    leaving.take("b")
    assert first.leave.is_set()
    assert not any(slot.leave.is_set() for slot in leaving.held)


def test_notices_are_a_quarter_and_evened_out_among_themselves(leaving):
    assert take_all(leaving, "a", is_notice=True) == 2
    assert take_all(leaving, "b", is_notice=True) == 1
    assert [slot.user_id for slot in leaving.held] == ["a", "b"]
    assert take_all(leaving, "a") == 6


def test_who_does_not_leave_keeps_his_place(monkeypatch):
    monkeypatch.setattr(slots, "ROOM_SECONDS", 0.05)
    found = Slots(2, wake=lambda: None)
    found.take("a")
    found.take("a")
    assert found.take("b") is None
    assert found.taken == 2


def test_no_places_are_no_error():
    found = Slots(0, wake=lambda: None)
    assert found.take("a") is None
    assert found.take("a", is_notice=True) is None


def test_after_the_close_everybody_is_let_go(leaving):
    slot = leaving.take("a")
    leaving.close()
    assert slot.leave.is_set()
    assert leaving.take("a").leave.is_set()
