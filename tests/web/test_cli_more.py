"""The command line beyond the main job: lists, downloads, watching, completion, help, words of the server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from shared import short_tasks
from tests.servers import wait_until
from tests.web.live import LiveServer
from web import cli
from worker.tasks import HANDLERS


@pytest.fixture
def server(app):
    live = LiveServer(app)
    live.start()
    yield live
    live.stop()


@pytest.fixture
def run_as(server):
    def run_as(person):
        def run(*arguments, **environment):
            env = {"ATELIER_URL": server.url, "ATELIER_TOKEN": person.token} | environment
            return CliRunner(env=env).invoke(cli.main, [str(part) for part in arguments])

        return run

    return run_as


@pytest.fixture
def run(run_as, alice):
    return run_as(alice)


def ids(result):
    assert result.exit_code == 0, result.output
    return {row["id"] for row in json.loads(result.stdout)}


def test_lists_are_filtered(run, work, alice):
    one, two = work.dataset(alice), work.dataset(alice)
    first = work.training(alice, dataset_id=one, name="Letters of Ann")["id"]
    second = work.training(alice, dataset_id=two, name="Poems")["id"]
    run("job", "cancel", second)
    both = {first, second}
    expected = {
        (): both,
        ("--state", "queued"): {first},
        ("--state", "queued,cancelled"): both,
        ("--kind", "train"): both,
        ("--kind", "generate"): set(),
        ("--family", "toy"): both,
        ("--dataset", one): {first},
        ("--model", "none"): set(),
        ("--since", "1h"): both,
        ("--since", "2100-01-01"): set(),
        ("--search", "letters"): {first},
        ("-q", "letters"): {first},
        ("--limit", "1"): {second},
    }
    found = {options: ids(run("job", "list", "--json", *options)) for options in expected}
    assert found == expected


@pytest.mark.parametrize("text", ["yesterday", "3", "99999999999d", "999999w"])
def test_a_time_that_is_none_is_wrong_usage(run, text):
    assert run("job", "list", "--since", text).exit_code == 2


def test_a_refusal_says_the_field_in_words(run, work, alice):
    data = work.dataset(alice)
    result = run("job", "submit", "train", "--family", "toy", "--dataset", data, "-p", "steps=0")
    assert re.search(r"^  steps: .+ \(/params/steps\)$", result.stderr, re.M), result.stderr
    job_id = work.training(alice, dataset_id=data)["id"]
    result = run("dataset", "delete", data)
    assert result.exit_code == 3
    assert f"needed by job {job_id}" in result.stderr


def test_all_that_a_job_made_is_downloaded(run, work, alice, tmp_path):
    job_id = work.generation(alice)["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, (b"one", b"two"))
    result = run("job", "download", job_id, "-o", tmp_path / "new" / "folder", "--quiet")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "new" / "folder"
    assert result.stdout.splitlines() == [str(folder / "0.txt"), str(folder / "1.txt")]
    assert [(folder / f"{n}.txt").read_bytes() for n in (0, 1)] == [b"one", b"two"]
    assert result.stderr == ""


def test_a_broken_download_is_continued(run, work, alice, tmp_path):
    artifact = work.artifact(alice, b"0123456789" * 1000)
    sha256 = json.loads(run("artifact", "get", artifact, "-o", tmp_path / "x", "--json").stdout)[
        "sha256"
    ]
    part = tmp_path / f"out.txt.{sha256[:12]}.part"
    part.write_bytes(b"0123456789" * 400)
    result = run("artifact", "get", artifact, "-o", tmp_path / "out.txt")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.txt").read_bytes() == b"0123456789" * 1000
    part.write_bytes(b"wrong")
    assert run("artifact", "get", artifact, "-o", tmp_path / "out.txt").exit_code == 1


def test_progress_is_plain_lines_without_a_terminal_and_nothing_when_quiet(run, tmp_path):
    (tmp_path / "a.txt").write_text("Once upon a time. " * 100)
    add = ("dataset", "add", tmp_path / "a.txt", "--no-wait")
    loud, quiet = run(*add), run(*add, "--quiet")
    assert "uploading: 1,800 of 1,800 bytes" in loud.stderr
    assert "\r" not in loud.stderr and "\x1b" not in loud.stderr
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_watching_shows_events_and_log_and_goes_on_after_the_last_one(run, work, alice):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    work.report(job, log="hello\nworld", points=[[1, 0.1, {"loss": 2.0}]])
    work.succeed(job)
    result = run("job", "watch", job_id, "--events", "--log")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    assert "hello\nworld" in result.stderr
    rest = run("job", "watch", job_id, "--events", "--after", events[1]["n"])
    assert [json.loads(line)["n"] for line in rest.stdout.splitlines()] == [
        event["n"] for event in events[2:]
    ]


def test_events_go_on_after_a_restart_of_the_server(run, work, alice, server):
    job_id = work.training(alice)["id"]
    results = []
    watch = ("job", "watch", job_id, "--events")
    watching = threading.Thread(target=lambda: results.append(run(*watch)))
    watching.start()
    (job,) = work.claim()
    work.report(job, step=1, total=2)
    wait_until(watching.is_alive)
    server.stop()
    work.report(job, step=2, total=2)
    server.start()
    work.succeed(job)
    watching.join(60)
    assert results[0].exit_code == 0, results[0].output
    numbers = [json.loads(line)["n"] for line in results[0].stdout.splitlines()]
    assert numbers == [event["n"] for event in alice.get(f"/jobs/{job_id}/events").json["items"]]


def test_metrics_are_told_in_numbers(run, work, alice):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    work.report(job, points=[[1, 0.1, {"loss": 2.0}], [2, 0.2, {"loss": 1.5}]])
    shown = run("job", "metrics", job_id).stdout
    assert re.search(r"^loss +2 +1\.5 +1\.5 +2$", shown, re.M), shown
    assert len(json.loads(run("job", "metrics", job_id, "--json").stdout)["series"]["loss"]) == 2


def test_jobs_are_deleted(run, work, alice):
    job_id = work.training(alice)["id"]
    assert json.loads(run("job", "delete", job_id, "--json").stdout)["deleted"]
    assert run("job", "show", job_id).exit_code == 3


def test_models_and_datasets_are_shared_and_renamed(run, run_as, work, alice, bob):
    model, data = work.model(alice), work.dataset(alice)
    theirs = run_as(bob)
    assert theirs("model", "show", model).exit_code == 3
    assert run("model", "rename", model, "Better").stdout == "Better\n"
    assert run("model", "share", model).stdout == "shared\n"
    assert run("dataset", "share", data).stdout == "shared\n"
    assert "Better" in theirs("model", "show", model).stdout
    assert theirs("dataset", "show", data).exit_code == 0
    assert theirs("model", "rename", model, "Mine").exit_code == 3
    run("model", "share", model, "--off")
    run("dataset", "share", data, "--off")
    assert theirs("model", "show", model).exit_code == 3
    assert theirs("dataset", "show", data).exit_code == 3


def test_items_of_a_dataset_and_the_queue_are_shown(run, work, alice):
    assert "a.png" in run("dataset", "items", work.dataset(alice)).stdout
    job_id = work.training(alice)["id"]
    shown = run("queue").stdout
    assert job_id in shown and re.search(r"^train +1 +0 +1 +0$", shown, re.M), shown
    assert json.loads(run("queue", "--json").stdout)["jobs"][0]["id"] == job_id


def test_administrators_see_the_storage_and_sweep(run, run_as, person, studio):
    root = run_as(person("root", admin=True))
    assert run("storage").exit_code == 3
    studio.storage.put_bytes("artifacts/gone/1/0.txt", b"abc")
    os.utime(studio.storage.path_of("artifacts/gone/1/0.txt"), (1.0, 1.0))
    results = []
    sweeping = threading.Thread(target=lambda: results.append(root("storage", "--sweep")))
    sweeping.start()

    def run_task():
        with studio.db.writing() as session:
            task = short_tasks.claim_due(session, 60)
        if task:
            HANDLERS[task.name](studio.settings, studio.db, studio.storage, task.arguments)
        return task

    wait_until(run_task)
    sweeping.join(30)
    assert results[0].exit_code == 0, results[0].output
    assert re.search(r"^\S+ +asked +0 +1 +3 B", results[0].stdout, re.M), results[0].stdout


# ---- help and completion -----------------------------------------------------------------------------


def leaves(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", [*leaves(cli.main)])
def test_every_command_prints_json_for_scripts(path):
    command = cli.main
    for name in path:
        command = command.commands[name]
    options = {option for one in command.params for option in one.opts}
    assert "--json" in options or path in (("up",), ("completion",), ("chaos",))


# chaos hands its --help over to another process (tests/worker/chaos)
@pytest.mark.parametrize("path", [path for path in leaves(cli.main) if path != ("chaos",)])
def test_the_help_of_each_command_has_an_example(path):
    shown = CliRunner().invoke(cli.main, [*path, "--help"]).stdout
    assert f"atelier {' '.join(path)}" in shown.split("Examples:")[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell):
    result = CliRunner().invoke(cli.main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_ATELIER_COMPLETE={shell}_complete" in result.stdout


def offered(args, incomplete, url, token):
    options = ["--url", url, "--token", token]
    complete = ShellComplete(cli.main, {}, "atelier", "_ATELIER_COMPLETE")
    return [item.value for item in complete.get_completions([*options, *args], incomplete)]


def test_ids_complete_from_the_server(server, work, alice, bob):
    model, job = work.model(alice), work.training(alice)["id"]
    data = work.dataset(alice)
    here = (server.url, alice.token)
    assert job in offered(["job", "show"], "", *here)
    assert offered(["job", "cancel"], job[:-1], *here) == [job]
    assert offered(["job", "submit", "generate", "--model"], "", *here) == [model]
    assert data in offered(["dataset", "show"], "", *here)
    assert offered(["job", "show"], "", server.url, bob.token) == []
    server.stop()
    assert offered(["job", "show"], "", *here) == []


def test_a_shell_gets_its_completions_from_a_process(server, work, alice):
    job = work.training(alice)["id"]
    environment = {
        "PATH": os.environ["PATH"],
        "ATELIER_URL": server.url,
        "ATELIER_TOKEN": alice.token,
        "_ATELIER_COMPLETE": "bash_complete",
        "COMP_WORDS": "atelier job show ",
        "COMP_CWORD": "3",
    }
    command = [sys.executable, "-c", "from web.cli import main; main(prog_name='atelier')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert f"plain,{job}" in done.stdout, done
