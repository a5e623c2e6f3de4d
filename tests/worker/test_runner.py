"""A real runner process, with families that need no torch."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.servers import wait_until
from tests.worker.runner_harness import contents_of
from worker import link

LONG = {"steps": 100_000, "step_seconds": 0.005}


@pytest.fixture
def runner(start_runner):
    return start_runner(["sleep_steps", "poison_at"])


@pytest.fixture
def model(runner):
    return runner.trained("model.1", "sleep_steps", {"steps": 3, "step_seconds": 0})[1]


def suspects(runner):
    return (runner.folder / "stepping").read_bytes().split(b"\0")[0].decode().split()


def test_it_greets_with_its_families_and_without_torch(runner):
    hello = runner.hello
    assert {family["name"] for family in hello.families} == {"sleep_steps", "poison_at"}
    assert hello.pid == runner.process.pid
    assert hello.facts["torch"] == ""
    assert hello.problems == []
    assert set(hello.facts["sandbox"]) >= {"landlock", "seccomp", "network_namespace"}


def test_a_family_that_cannot_be_imported_is_told_and_the_others_serve(start_runner, tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    (tmp_path / "nameless.py").write_text("x = 1\n")
    from tests.worker.runner_harness import FAMILIES

    runner = start_runner(
        ["sleep_steps", "broken", "nameless"], family_path=[str(FAMILIES), str(tmp_path)]
    )
    assert [family["name"] for family in runner.hello.families] == ["sleep_steps"]
    assert {problem.file for problem in runner.hello.problems} == {"broken.py", "nameless.py"}


def test_a_training_reports_and_ends_with_a_model(runner):
    done, model = runner.trained("a.1", "sleep_steps", {"steps": 20})
    assert done.metrics["steps"] == 20
    assert done.metrics["best_step"] == 20
    assert (
        done.model.facts
        == json.loads((runner.out("a.1") / "model/atelier.json").read_text())["facts"]
    )
    assert runner.said("progress", "a.1")[-1].step == 20
    points = [point for message in runner.said("metrics", "a.1") for point in message.points]
    assert [step for step, _, _ in points] == list(range(1, 21))
    assert runner.said("log", "a.1")[0].text == "sleeping 20 times"


def test_the_same_training_makes_the_same_bytes(runner):
    folders = []
    for job in ("a.1", "b.2"):
        runner.trained(job, "sleep_steps", {"steps": 10, "step_seconds": 0})
        folders.append(contents_of(runner.out(job) / "model"))
    assert folders[0] == folders[1]
    runner.trained("c.1", "sleep_steps", {"steps": 10, "step_seconds": 0}, seed=8)
    assert contents_of(runner.out("c.1") / "model") != folders[0]


def test_drained_and_resumed_equals_undisturbed(runner, start_runner):
    params = {"steps": 60, "step_seconds": 0.01}
    runner.trained("whole.1", "sleep_steps", params)
    runner.train("part.1", "sleep_steps", params)
    runner.until("metrics", job="part.1")
    runner.send(link.Drain(job="part.1", why="test"))
    drained = runner.end_of("part.1")
    assert drained.type == "drained"
    (checkpoint,) = runner.said("checkpoint", "part.1")
    assert checkpoint.step == drained.step < 60
    other = start_runner(["sleep_steps"])
    path = runner.out("part.1") / checkpoint.file
    other.trained(
        "part.2", "sleep_steps", params,
        checkpoint=link.CheckpointHere(path=str(in_folder(other, "part.2", path)), step=drained.step),
    )  # fmt: skip
    assert contents_of(other.out("part.2") / "model") == contents_of(
        runner.out("whole.1") / "model"
    )


def in_folder(runner, job, path):
    """A runner reads only its own folders: the supervisor links what it needs into one."""
    folder = runner.inputs / job
    folder.mkdir(parents=True)
    os.link(path, folder / "checkpoint.safetensors")
    return folder / "checkpoint.safetensors"


def test_checkpoints_come_by_time_and_a_killed_run_resumes_from_the_last(start_runner):
    first = start_runner(["sleep_steps"], checkpoint_seconds=0.05)
    params = {"steps": 80, "step_seconds": 0.01}
    first.trained("whole.1", "sleep_steps", params)
    assert len(first.said("checkpoint", "whole.1")) >= 2
    first.train("cut.1", "sleep_steps", params)
    checkpoint = first.until("checkpoint", job="cut.1")
    first.process.kill()
    second = start_runner(["sleep_steps"])
    path = in_folder(second, "cut.2", first.out("cut.1") / checkpoint.file)
    second.trained(
        "cut.2", "sleep_steps", params,
        checkpoint=link.CheckpointHere(path=str(path), step=checkpoint.step),
    )  # fmt: skip
    steps = [point[0] for message in second.said("metrics") for point in message.points]
    assert steps[0] == checkpoint.step + 1
    assert contents_of(second.out("cut.2") / "model") == contents_of(first.out("whole.1") / "model")


def test_a_job_that_is_not_resumable_writes_no_checkpoint(start_runner):
    runner = start_runner(["sleep_steps"], checkpoint_seconds=0.01)
    runner.train("a.1", "sleep_steps", LONG, resumable=False)
    runner.until("metrics")
    runner.send(link.Drain(job="a.1"))
    assert runner.end_of("a.1").type == "drained"
    assert runner.said("checkpoint") == []


def test_a_damaged_checkpoint_fails_in_a_way_that_allows_another(runner):
    path = runner.inputs / "bad.safetensors"
    path.write_bytes(b"\x05\0\0\0\0\0\0\0{nope")
    checkpoint = link.CheckpointHere(path=str(path), step=3)
    runner.train("a.1", "sleep_steps", LONG, checkpoint=checkpoint)
    failed = runner.end_of("a.1")
    assert (failed.code, failed.permanent) == ("bad_checkpoint", False)


def test_a_cancelled_training_stops_and_the_next_can_start(runner):
    runner.train("a.1", "sleep_steps", LONG)
    runner.until("metrics")
    runner.send(link.Cancel(job="a.1"))
    assert runner.end_of("a.1").type == "cancelled"
    runner.trained("b.1", "sleep_steps", {"steps": 2})


def test_a_second_training_is_told_that_the_device_is_busy(runner):
    runner.train("a.1", "sleep_steps", LONG)
    runner.train("b.1", "sleep_steps", LONG)
    failed = runner.end_of("b.1")
    assert (failed.code, failed.permanent) == ("busy", False)
    runner.send(link.Cancel(job="a.1"))
    runner.end_of("a.1")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"steps": 0}, "invalid_params"),
        ({"steps": "3"}, "invalid_params"),
        ({"strange": 1}, "invalid_params"),
        ({"steps": 3, "fail_at": 9}, "invalid_params"),  # a rule of the family
        ({"steps": 3, "fail_at": 2}, "bad_data"),  # raised by its loop
    ],
)
def test_a_training_that_cannot_be_is_refused_for_good(runner, params, code):
    runner.train("a.1", "sleep_steps", params)
    failed = runner.end_of("a.1")
    assert (failed.code, failed.permanent) == (code, True)


def test_another_version_of_a_family_is_not_run(runner):
    runner.start("a.1", "train", "unknown", {})
    failed = runner.end_of("a.1")
    assert (failed.code, failed.permanent) == ("family_missing", False)


def test_a_generation_makes_each_item_with_its_own_seed(runner, model):
    runner.generate("g.1", "sleep_steps", {"count": 40, "steps": 2}, model)
    done = runner.end_of("g.1")
    assert done.metrics["items"] == 40
    outputs = runner.said("output", "g.1")
    assert sorted(output.index for output in outputs) == list(range(40))
    assert len({output.seed for output in outputs}) == 40
    assert len({output.label["ProduceID"] for output in outputs}) == 40
    assert set(contents_of(runner.out("g.1"))) == {output.file for output in outputs}


def test_a_result_does_not_depend_on_its_neighbours(runner, model):
    params = {"count": 3, "steps": 4}
    runner.generate("alone.1", "sleep_steps", params, model)
    runner.end_of("alone.1")
    for n in range(7):
        runner.generate(f"stranger{n}.1", "sleep_steps", {"steps": 3 + n}, model, seed=n)
    runner.generate("crowd.1", "sleep_steps", params, model)
    runner.end_of("crowd.1")
    assert contents_of(runner.out("alone.1")) == contents_of(runner.out("crowd.1"))


def test_short_jobs_overtake_a_long_one_in_the_same_batch(runner, model):
    runner.generate("long.1", "sleep_steps", {"count": 500, "steps": 5}, model)
    runner.until("output", job="long.1")
    runner.generate("short.1", "sleep_steps", {"count": 2, "steps": 2}, model)
    runner.end_of("short.1")
    assert runner.said("done", "long.1") == []
    runner.send(link.Cancel(job="long.1"))
    assert runner.end_of("long.1").type == "cancelled"


def test_text_is_streamed_as_it_grows(runner, model):
    params = {"count": 1, "steps": 80, "step_seconds": 0.01}
    runner.generate("g.1", "sleep_steps", params, model)
    runner.end_of("g.1")
    texts = [message.text for message in runner.said("text", "g.1")]
    assert texts == sorted(texts, key=len)
    assert 2 <= len(texts) <= 40


def test_an_item_that_fails_fails_its_job_and_no_other(runner, model):
    runner.generate("bad.1", "sleep_steps", {"count": 5, "steps": 5, "bad_index": 3}, model)
    runner.generate("good.1", "sleep_steps", {"count": 5, "steps": 9}, model)
    failed = runner.end_of("bad.1")
    assert (failed.code, failed.permanent) == ("bad_data", True)
    assert runner.end_of("good.1").type == "done"


def test_an_error_in_a_shared_batch_ends_only_the_job_that_raises_alone(runner, model):
    good = {"steps": 9, "count": 3}
    runner.generate("good.1", "poison_at", good, poison_model(runner))
    runner.generate("bad.1", "poison_at", good | {"at": 4, "mode": "raise"}, poison_model(runner))
    runner.generate("fine.1", "poison_at", good, poison_model(runner))
    ends = {}
    while len(ends) < 3:
        message = runner.until("done", "failed")
        ends[message.job] = message
    assert {job: end.type for job, end in ends.items()} == {
        "good.1": "done",
        "bad.1": "failed",
        "fine.1": "done",
    }
    assert (ends["bad.1"].code, ends["bad.1"].permanent) == ("family_error", True)
    assert len(runner.said("output", "good.1")) == 3


def poison_model(runner):
    folder = runner.inputs / "poison_model"
    if not folder.exists():  # the runner may be reading it
        folder.mkdir()
        (folder / "model.json").write_text('{"steps": 0}')
    return link.ModelHere(folder=str(folder), id="p", sha256="cd" * 32)


def test_a_job_marked_no_batch_shares_with_nobody(runner):
    model = poison_model(runner)
    runner.generate("solo.1", "poison_at", {"steps": 1000}, model, no_batch=True)
    runner.generate("other.1", "poison_at", {"steps": 3, "at": 2, "mode": "kill"}, model)
    with pytest.raises(link.LinkClosed):
        runner.end_of("other.1")
    assert suspects(runner) == ["other.1"]


def test_the_suspects_of_a_death_are_those_that_were_stepped(runner):
    model = poison_model(runner)
    runner.train("bystander.1", "sleep_steps", {"steps": 10_000, "step_seconds": 0.001})
    runner.until("metrics")
    runner.generate("innocent.1", "poison_at", {"steps": 100}, model)
    runner.generate("guilty.1", "poison_at", {"steps": 30, "at": 30, "mode": "segv"}, model)
    with pytest.raises(link.LinkClosed):
        runner.end_of("guilty.1")
    assert set(suspects(runner)) == {"innocent.1", "guilty.1"}
    assert runner.process.wait(10) == -signal.SIGSEGV


def test_nobody_is_suspected_between_steps(runner, model):
    # the last message of a job is sent from inside its last step
    wait_until(lambda: suspects(runner) == [], 10, "the note of the last step is cleared")


def test_a_raising_training_fails_for_good_and_the_runner_lives(runner):
    runner.train("a.1", "poison_at", {"steps": 5, "at": 3, "mode": "raise"})
    failed = runner.end_of("a.1")
    assert (failed.code, failed.message, failed.permanent) == (
        "family_error",
        "RuntimeError: poison",
        True,
    )
    runner.trained("b.1", "sleep_steps", {"steps": 2})


def test_a_generation_runs_between_the_steps_of_a_training(runner, model):
    params = {"steps": 60, "step_seconds": 0.01}
    runner.trained("quiet.1", "sleep_steps", params)
    runner.train("shared.1", "sleep_steps", params)
    runner.until("metrics", job="shared.1")
    runner.generate("g.1", "sleep_steps", {"count": 20, "steps": 3}, model)
    assert runner.until("done").job == "g.1"
    assert runner.end_of("shared.1").type == "done"
    quiet, shared = (contents_of(runner.out(job) / "model") for job in ("quiet.1", "shared.1"))
    assert quiet == shared


def test_training_and_generation_share_the_device_by_time(runner, model):
    runner.train("t.1", "sleep_steps", {"steps": 100_000, "step_seconds": 0.02})
    runner.until("metrics", job="t.1")
    params = {"count": 1000, "steps": 100, "step_seconds": 0.004}
    runner.generate("g.1", "sleep_steps", params, model)
    used = dict.fromkeys(("t.1", "g.1"), 0.0)
    runner.until("output", job="g.1")
    while min(used.values()) < 1:
        for job, seconds in runner.until("beat").used.items():
            used[job] += seconds
    # a sampler step is a fifth of a training step: by turns the training would have five times the time
    assert max(used.values()) < 2.5 * min(used.values()), used


def test_a_generation_can_be_drained_at_once(runner, model):
    runner.generate("g.1", "sleep_steps", {"count": 1, "steps": 100_000}, model)
    runner.until("text")
    runner.send(link.Drain(job="g.1", why="stop"))
    assert runner.end_of("g.1").type == "drained"


def test_a_cancel_for_a_job_that_is_not_here_is_no_error(runner):
    runner.send(link.Cancel(job="none.1"))
    runner.send(link.Drain(job="none.1"))
    runner.trained("a.1", "sleep_steps", {"steps": 1})


def test_it_beats_while_a_step_says_nothing_else(runner):
    params = {"steps": 100_000, "step_seconds": 0.001}
    runner.train("a.1", "sleep_steps", params)
    began = time.monotonic()
    gaps, last = [], began
    while time.monotonic() - began < 2:
        runner.next()
        gaps.append(time.monotonic() - last)
        last = time.monotonic()
    assert runner.said("beat")
    assert max(gaps) < 5


def test_it_stops_when_told_and_when_the_link_closes(runner, start_runner):
    runner.train("a.1", "sleep_steps", LONG)
    runner.send(link.Stop())
    assert runner.process.wait(10) == 0
    other = start_runner(["sleep_steps"])
    other.link.close()
    assert other.process.wait(10) == 0


def test_it_ignores_the_signals_of_a_terminal(runner):
    os.kill(runner.process.pid, signal.SIGINT)
    os.kill(runner.process.pid, signal.SIGTERM)
    runner.trained("a.1", "sleep_steps", {"steps": 1})


def test_memory_that_runs_out_fails_only_its_job(start_runner):
    runner = start_runner(["hog_rss", "sleep_steps"], memory_bytes=1 << 30)
    assert runner.hello.facts["sandbox"]["memory"] == "on"
    runner.train("a.1", "hog_rss", {"steps": 5, "megabytes": 4000})
    failed = runner.end_of("a.1")
    assert (failed.code, failed.permanent) == ("oom", False)


def test_nothing_that_was_given_to_a_runner_can_be_altered_by_it(start_runner, tmp_path):
    runner = start_runner(["meddler"])
    parts = runner.hello.facts["sandbox"]
    if {parts["landlock"], parts["seccomp"]} != {"on"}:
        pytest.skip(f"landlock is {parts['landlock']}, seccomp is {parts['seccomp']}")
    stored = tmp_path / "stored.json"
    stored.write_text('{"steps": 0}')
    before = stored.stat()
    folder = runner.inputs / "a.1" / "model"
    folder.mkdir(parents=True)
    os.link(stored, folder / "model.json")
    runner.generate(
        "a.1", "meddler", {}, link.ModelHere(folder=str(folder), id="m", sha256="ef" * 32)
    )
    assert runner.end_of("a.1").type == "done"
    [output] = runner.said("output")
    found = json.loads((runner.out("a.1") / output.file).read_text())
    assert [way for way, answer in found.items() if answer != "refused"] == []
    after = stored.stat()
    assert stored.read_text() == '{"steps": 0}'
    assert (after.st_mode, after.st_uid, after.st_mtime) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime,
    )
    assert [path.name for path in folder.iterdir()] == ["model.json"]


def test_a_beat_says_which_jobs_the_runner_has(runner, model):
    runner.train("t.1", "sleep_steps", LONG)
    runner.generate("g.1", "sleep_steps", {"count": 1, "steps": 100_000}, model)
    runner.until("text", job="g.1")
    assert set(whole_beat(runner).holds) == {"t.1", "g.1"}
    runner.send(link.Cancel(job="t.1"))
    runner.end_of("t.1")
    assert whole_beat(runner).holds == ["g.1"]


def whole_beat(runner):
    while (beat := runner.until("beat")).holds is None:
        pass
    return beat


def test_what_is_told_of_a_growing_text_stays_a_small_multiple_of_it(runner, model):
    steps = 3000
    params = {"count": 1, "steps": steps, "step_seconds": 0.001}
    runner.generate("g.1", "sleep_steps", params, model)
    runner.end_of("g.1")
    lengths = [len(message.text) for message in runner.said("text", "g.1")]
    assert all(b > a * 17 / 16 for a, b in zip(lengths, lengths[1:], strict=False))
    # and what has not changed is not told again
    progress = [message.step for message in runner.said("progress", "g.1")]
    assert len(progress) == len(set(progress))
