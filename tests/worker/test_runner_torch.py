"""A real runner process with a small torch model: what must hold bit for bit."""

from __future__ import annotations

import pytest

from tests.worker.runner_harness import contents_of
from worker import link


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    from tests.worker.runner_harness import RunnerHarness

    harness = RunnerHarness(tmp_path_factory.mktemp("torch"), ["tiny"], checkpoint_seconds=0.05)
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def undisturbed(runner):
    """The model folder of 60 steps that nothing interrupted."""
    runner.trained("whole.1", "tiny", {"steps": 60})
    return contents_of(runner.out("whole.1") / "model")


def test_it_greets_with_what_it_measured(runner):
    assert runner.hello.facts["flops_per_second"] > 1e6
    assert runner.hello.facts["cpu_capability"]


def test_the_same_seed_trains_the_same_model(runner, undisturbed):
    runner.trained("again.1", "tiny", {"steps": 60})
    assert contents_of(runner.out("again.1") / "model") == undisturbed


def test_generations_in_between_do_not_touch_the_training(runner, undisturbed):
    model = runner.model_of("whole.1")
    runner.train("shared.1", "tiny", {"steps": 60})
    for n in range(20):
        runner.generate(f"g{n}.1", "tiny", {"count": 3, "length": 4}, model, seed=n)
    assert runner.end_of("shared.1").type == "done"
    assert contents_of(runner.out("shared.1") / "model") == undisturbed
    for n in range(20):
        if not runner.said("done", f"g{n}.1"):
            runner.end_of(f"g{n}.1")


def test_resumed_from_any_checkpoint_it_is_the_same_model(runner, undisturbed):
    checkpoints = runner.said("checkpoint", "whole.1")
    runner.train("drained.1", "tiny", {"steps": 60})
    runner.until("metrics", job="drained.1")
    runner.send(link.Drain(job="drained.1"))
    if runner.end_of("drained.1").type == "drained":
        checkpoints += runner.said("checkpoint", "drained.1")[-1:]
    assert checkpoints
    for n, checkpoint in enumerate(checkpoints):
        path = runner.out(checkpoint.job) / checkpoint.file
        here = link.CheckpointHere(path=str(path), step=checkpoint.step)
        runner.trained(f"resumed{n}.2", "tiny", {"steps": 60}, checkpoint=here)
        assert contents_of(runner.out(f"resumed{n}.2") / "model") == undisturbed


def test_previews_are_drawn_and_do_not_touch_the_training(runner, undisturbed, start_runner):
    previews = runner.said("preview", "whole.1")
    assert [preview.index for preview in previews[:3]] == [0, 1, 2]
    assert all((runner.out("whole.1") / preview.file).is_file() for preview in previews)
    # what people get is drawn, however soon after the round before
    best = runner.said("done", "whole.1")[0].metrics["best_step"]
    assert previews[-1].step == best > previews[0].step
    without = start_runner(["tiny"], previews=False)
    without.trained("whole.1", "tiny", {"steps": 60})
    assert without.said("preview") == []
    assert contents_of(without.out("whole.1") / "model") == undisturbed


def test_metrics_are_numbers_and_validations_are_kept(runner, undisturbed):
    points = [point for message in runner.said("metrics", "whole.1") for point in message.points]
    assert [step for step, _, values in points if "validation" in values] == list(range(10, 61, 10))
    assert all(isinstance(value, float) for _, _, values in points for value in values.values())


def test_the_model_narrows_its_own_schema(runner, undisturbed):
    done = runner.said("done", "whole.1")[0]
    properties = done.model.schema_["properties"]
    assert properties["length"]["maximum"] == properties["length"]["default"] == 4
    assert "temperature" not in properties
    for params in ({"length": 5}, {"temperature": 1.0}):
        runner.generate("narrow.1", "tiny", params, runner.model_of("whole.1"))
        assert runner.end_of("narrow.1").code == "invalid_params"


def test_memory_that_runs_out_is_answered_with_smaller_parts(runner):
    done, _ = runner.trained("hungry.1", "tiny", {"steps": 12, "hungry_above": 2})
    assert done.build["splits"] == 4
    runner.train("starving.1", "tiny", {"steps": 12, "hungry_above": 2}, splits=8)
    assert runner.end_of("starving.1").build["splits"] == 8


def test_a_family_that_leaves_a_mode_switched_is_stopped(runner):
    runner.train("rude.1", "tiny", {"steps": 12, "leave_mode": True})
    failed = runner.end_of("rude.1")
    assert (failed.code, failed.permanent) == ("family_left_mode", True)
    runner.trained("next.1", "tiny", {"steps": 2})


def test_a_text_that_is_too_short_is_refused_for_good(start_runner):
    runner = start_runner(["tiny"])
    runner.dataset("tiny")
    runner.train("a.1", "tiny", {})
    failed = runner.end_of("a.1")
    assert (failed.code, failed.permanent) == ("bad_data", True)
