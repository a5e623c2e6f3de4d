"""Memory that runs out over generations: fewer at a time, and from then on no more than that."""

from __future__ import annotations

import pytest

from tests.worker.runner_harness import contents_of


@pytest.fixture
def runner(start_runner):
    return start_runner(["crowd", "sleep_steps"])


@pytest.fixture
def model(runner):
    return runner.trained("model.1", "crowd", {"steps": 1})[1]


def made(runner, job):
    done = runner.end_of(job)
    assert done.type == "done", done
    return contents_of(runner.out(job)), [o.metrics["here"] for o in runner.said("output", job)]


@pytest.mark.parametrize("error", ["memory", "alloc", "device"])
def test_a_crowd_that_does_not_fit_is_made_in_smaller_parts(runner, model, error):
    runner.generate("few.1", "crowd", {"count": 16}, model)
    undisturbed, _ = made(runner, "few.1")
    runner.generate("a.1", "crowd", {"count": 16, "fits": 5, "error": error}, model)
    files, together = made(runner, "a.1")
    assert files.keys() == undisturbed.keys()
    assert together == [4.0] * 16
    logs = [message.text for message in runner.said("log", "a.1")]
    assert logs == [
        "Memory ran out with 16 at a time; going on with fewer.",
        "Memory ran out with 8 at a time; going on with fewer.",
    ]


def test_what_did_not_fit_once_is_not_tried_again(runner, model):
    runner.generate("a.1", "crowd", {"count": 16, "fits": 5}, model)
    made(runner, "a.1")
    runner.generate("b.1", "crowd", {"count": 16, "fits": 5}, model)
    _, together = made(runner, "b.1")
    assert together == [4.0] * 16
    assert runner.said("log", "b.1") == []


def test_one_that_does_not_fit_alone_is_named_with_advice_and_its_company_goes_on(runner, model):
    for number in range(4):
        runner.generate(f"good{number}.1", "crowd", {"count": 2}, model, seed=number)
    runner.generate("bad.1", "crowd", {"fits": 0}, model)
    failed = runner.end_of("bad.1")
    assert (failed.type, failed.code, failed.permanent) == ("failed", "oom", False)
    assert "smaller" in failed.message
    for number in range(4):
        if not runner.said("done", f"good{number}.1"):
            made(runner, f"good{number}.1")
    # another model is made as ever
    _, other = runner.trained("other.1", "sleep_steps", {"steps": 1, "step_seconds": 0})
    runner.generate("last.1", "sleep_steps", {"step_seconds": 0}, other)
    assert runner.end_of("last.1").type == "done"
