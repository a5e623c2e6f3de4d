"""A real runner process: early ends, trainings that go on from others, checkpoints as models, memory that runs out."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from tests.worker.runner_harness import RunnerHarness, contents_of
from worker import link

LONG = {"steps": 60, "cosine_steps": 60}


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    harness = RunnerHarness(tmp_path_factory.mktemp("torch"), ["tiny"], checkpoint_seconds=0.05)
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def whole(runner):
    """The model folder of 60 steps that nothing interrupted."""
    runner.trained("whole.1", "tiny", LONG)
    return contents_of(runner.out("whole.1") / "model")


def here(runner, message: link.Checkpoint) -> link.CheckpointHere:
    return link.CheckpointHere(path=str(runner.out(message.job) / message.file), step=message.step)


def last_checkpoint(runner, job: str) -> link.Checkpoint:
    return runner.said("checkpoint", job)[-1]


EARLY = {"steps": 5000, "cosine_steps": 90, "worse_after": 50, "patience": 4}


def test_a_training_that_gets_no_better_ends_early_and_says_why(runner):
    done, _ = runner.trained("early.1", "tiny", EARLY)
    stopped = done.metrics["stopped_early"]
    assert stopped == done.metrics["steps"] == done.metrics["best_step"] + 40
    assert done.metrics["best_step"] <= 50
    last = runner.said("progress", "early.1")[-1]
    assert (last.step, last.total) == (stopped, stopped)
    assert (
        f"Stopped early at step {stopped}: 4 measurements" in runner.said("log", "early.1")[-1].text
    )


def test_an_early_end_comes_at_the_same_step_after_a_resume(runner):
    runner.train("drained.1", "tiny", EARLY)
    while max((m.step for m in runner.said("checkpoint", "drained.1")), default=0) < 60:
        runner.until("checkpoint", "done", job="drained.1")
    runner.send(link.Drain(job="drained.1"))
    runner.end_of("drained.1")
    middle = [m for m in runner.said("checkpoint", "drained.1") if m.step >= 60][0]
    runner.trained("drained.2", "tiny", EARLY, checkpoint=here(runner, middle))
    assert contents_of(runner.out("drained.2") / "model") == contents_of(
        runner.out("early.1") / "model"
    )


def test_more_steps_after_an_early_end_begin_with_new_patience(runner):
    end = last_checkpoint(runner, "early.1")
    done, _ = runner.trained(
        "early.2", "tiny", EARLY, checkpoint=here(runner, end), continues_step=end.step
    )
    assert done.metrics["stopped_early"] == end.step + 40


def test_the_end_of_a_training_is_a_checkpoint(runner, whole):
    assert last_checkpoint(runner, "whole.1").step == 60


def test_a_training_that_goes_on_makes_what_one_of_that_length_makes(runner, whole):
    runner.trained("half.1", "tiny", LONG | {"steps": 25})
    end = last_checkpoint(runner, "half.1")
    assert end.step == 25
    runner.trained("half.2", "tiny", LONG, checkpoint=here(runner, end), continues_step=25)
    assert contents_of(runner.out("half.2") / "model") == whole


def test_a_checkpoint_becomes_a_model_without_a_step(runner, whole):
    end = last_checkpoint(runner, "whole.1")
    params = LONG | {"steps": end.step}
    done, _ = runner.trained(
        "copy.1", "tiny", params, checkpoint=here(runner, end), continues_step=end.step
    )
    assert done.metrics["steps"] == 60 and "loss" in done.metrics
    assert runner.said("checkpoint", "copy.1") == []
    held = load_file(runner.out("whole.1") / end.file)
    made = load_file(runner.out("copy.1") / "model" / "model.safetensors")
    for name, tensor in made.items():
        assert tensor.equal(held[f"run.kept.model.{name}"]), name


def test_a_model_is_made_of_a_checkpoint_while_another_training_runs_and_does_not_notice(
    runner, whole
):
    end = last_checkpoint(runner, "half.1")
    runner.train("busy.1", "tiny", LONG)
    for n in range(5):
        runner.train(
            f"copy{n}.1",
            "tiny",
            LONG | {"steps": end.step},
            checkpoint=here(runner, end),
            continues_step=end.step,
        )
    ends = [
        runner.end_of(f"copy{n}.1") if not runner.said("done", f"copy{n}.1") else None
        for n in range(5)
    ]
    assert all(end is None or end.type == "done" for end in ends)
    if not runner.said("done", "busy.1"):
        runner.end_of("busy.1")
    assert contents_of(runner.out("busy.1") / "model") == whole


def test_a_second_training_is_still_refused(runner):
    runner.train("first.1", "tiny", {"steps": 500})
    runner.train("second.1", "tiny", LONG)
    assert runner.end_of("second.1").code == "busy"
    runner.send(link.Cancel(job="first.1"))
    runner.end_of("first.1")


def test_micro_batches_are_told_and_outlast_a_resume(runner):
    params = {"steps": 400, "hungry_above": 2}
    runner.train("hungry.1", "tiny", params)
    runner.until("checkpoint", job="hungry.1")
    runner.send(link.Drain(job="hungry.1"))
    runner.end_of("hungry.1")
    told = "".join(message.text for message in runner.said("log", "hungry.1"))
    assert "in 2 micro-batches" in told and "in 4 micro-batches" in told
    newest = last_checkpoint(runner, "hungry.1")
    done, _ = runner.trained(
        "hungry.2", "tiny", params | {"steps": newest.step + 5}, checkpoint=here(runner, newest)
    )
    assert done.metrics["micro_batches"] == done.build["splits"] == 4
    assert not any("Memory ran out" in m.text for m in runner.said("log", "hungry.2"))
    # killed for memory since that checkpoint: twice as many parts as it had
    done, _ = runner.trained(
        "hungry.3",
        "tiny",
        params | {"steps": newest.step + 5},
        checkpoint=here(runner, newest),
        splits=2,
    )
    assert done.metrics["micro_batches"] == 8


def test_an_operation_without_a_deterministic_form_is_told_and_outlasts_a_resume(runner):
    steady, _ = runner.trained("steady.1", "tiny", {"steps": 12})
    assert steady.build["deterministic"] is True
    params = {"steps": 4000, "unsteady_from": 8}
    runner.train("unsteady.1", "tiny", params)
    while max((m.step for m in runner.said("checkpoint", "unsteady.1")), default=0) < 8:
        runner.until("checkpoint", job="unsteady.1")
    runner.send(link.Drain(job="unsteady.1"))
    assert runner.end_of("unsteady.1").type == "drained"
    (told,) = [m.text for m in runner.said("log", "unsteady.1") if "deterministic" in m.text]
    assert told.endswith("(put_ does not have a deterministic implementation)")
    newest = last_checkpoint(runner, "unsteady.1")
    params["steps"] = newest.step + 5
    done, _ = runner.trained("unsteady.2", "tiny", params, checkpoint=here(runner, newest))
    assert done.build["deterministic"] is False
    assert not any("deterministic" in m.text for m in runner.said("log", "unsteady.2"))
    # and whoever comes next is held to it again
    again, _ = runner.trained("steady.2", "tiny", {"steps": 12})
    assert again.build["deterministic"] is True


def test_where_one_row_is_too_much_the_failure_says_what_to_make_smaller(runner):
    runner.train("starved.1", "tiny", {"steps": 12, "starving": True})
    failed = runner.end_of("starved.1")
    assert failed.code == "oom" and not failed.permanent
    assert failed.message == (
        "Memory ran out at step 1, even with each batch in 8 micro-batches. Try a smaller width."
    )
