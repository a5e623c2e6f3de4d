"""A real runner while it draws the model that a training ended with: cancelled, drained, or let alone."""

from __future__ import annotations

import time

import pytest

from tests.worker.runner_harness import RunnerHarness, contents_of
from worker import link
from worker.previews import LAST_SECONDS

STEPS = {"steps": 5, "step_seconds": 0.0}


@pytest.fixture
def runner(tmp_path):
    harness = RunnerHarness(tmp_path / "runner", ["sleep_steps", "slow_previews"])
    yield harness
    harness.close()


@pytest.fixture
def drawing(runner):
    """`last.1` has made its steps, and its preview is being drawn."""
    runner.train("last.1", "slow_previews", STEPS)
    while runner.until("progress", job="last.1").step < STEPS["steps"]:
        pass
    return runner


def end_of(runner):
    began = time.monotonic()
    end = runner.end_of("last.1")
    return end.type, time.monotonic() - began


def test_a_cancel_ends_it(drawing):
    drawing.send(link.Cancel(job="last.1"))
    assert end_of(drawing)[0] == "cancelled"
    assert not (drawing.out("last.1") / "model").exists()


def test_a_drain_ends_the_training_and_gives_nothing_back(drawing):
    """Its steps are made: given back, they would be looked at once more for nothing."""
    drawing.send(link.Drain(job="last.1", why="stop"))
    assert end_of(drawing)[0] == "done"
    assert drawing.said("preview", "last.1") == []


def test_it_is_waited_for_and_not_for_long(drawing):
    kind, seconds = end_of(drawing)
    assert kind == "done"
    assert seconds > LAST_SECONDS / 2  # it did wait
    drawing.trained("plain.1", "sleep_steps", STEPS)
    same = [contents_of(drawing.out(job) / "model")["model.json"] for job in ("last.1", "plain.1")]
    assert same[0] == same[1]
