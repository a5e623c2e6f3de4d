"""The command line does what its help says, over real HTTP, and ends with the exit code that scripts rely on."""

from __future__ import annotations

import json
import re
import threading

import pytest
from click.testing import CliRunner

import migrations
from shared.config import Settings
from shared.db import Database
from shared.job_records import Lease
from shared.jobs import fail
from tests.servers import free_port, wait_until
from tests.web.live import LiveServer
from web import cli
from web.services.studio import open_studio
from web.services.tokens import find_token

TOKEN = re.compile(r"atelier_[0-9a-f]{12}_[A-Za-z0-9_-]{43}\n")


@pytest.fixture
def server(app):
    live = LiveServer(app)
    live.start()
    yield live
    live.stop()


@pytest.fixture
def run(server, alice):
    """Runs a command as alice."""

    def run(*arguments, **environment):
        env = {"ATELIER_URL": server.url, "ATELIER_TOKEN": alice.token} | environment
        return CliRunner(env=env).invoke(cli.main, [str(part) for part in arguments])

    return run


@pytest.fixture
def local(tmp_path):
    """Runs a command on a data folder that does not exist yet."""

    def run(*arguments):
        folder = tmp_path / "data"
        return CliRunner().invoke(cli.main, [*arguments, "--data", str(folder)])

    return run


# ---- accounts and settings, without a server -----------------------------------------------------


def test_user_create_prints_one_line_that_is_a_working_token(local, tmp_path):
    result = local("user", "create", "ann", "--admin")
    assert result.exit_code == 0, result.output
    assert TOKEN.fullmatch(result.stdout)
    studio = open_studio(Settings(data=tmp_path / "data"))
    _, user = find_token(studio, result.stdout.strip())
    studio.close()
    assert (user.name, user.role) == ("ann", "admin")


def test_user_create_refuses_a_name_that_is_taken(local):
    local("user", "create", "ann")
    result = local("user", "create", "ann")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "ann" in result.stderr


def test_user_create_names_the_field_that_is_wrong(local):
    result = local("user", "create", "no spaces")
    assert result.exit_code == 3
    assert "/name" in result.stderr


def test_user_passwd_prints_a_link(local):
    local("user", "create", "ann")
    assert "/welcome/" in local("user", "passwd", "ann").stdout
    assert local("user", "passwd", "nobody").exit_code == 3


def test_db_upgrade_makes_the_tables(local, tmp_path):
    assert local("db", "status").stdout == "empty\n"
    assert local("db", "upgrade").exit_code == 0
    assert local("db", "status").stdout == "current\n"
    assert migrations.status(Settings(data=tmp_path / "data").database) == "current"


def test_config_masks_what_is_secret(tmp_path):
    env = {
        "ATELIER_SECRET_KEY": "k" * 40,
        "DATABASE_URL": "postgresql://ann:hush@db/atelier",
        "REDIS_URL": "redis://:hush@r/0",
    }
    plain = CliRunner(env=env).invoke(cli.main, ["config"])
    assert plain.exit_code == 0
    assert "ATELIER_PORT" in plain.stdout
    shown = json.loads(CliRunner(env=env).invoke(cli.main, ["config", "--json"]).stdout)
    assert shown["database_url"] == "postgresql://ann:********@db/atelier"
    assert "hush" not in plain.stdout and "kkkk" not in plain.stdout


def test_a_wrong_setting_is_wrong_usage():
    result = CliRunner(env={"ATELIER_PORT": "many"}).invoke(cli.main, ["config"])
    assert result.exit_code == 2
    assert "ATELIER_PORT" in result.stderr


# ---- exit codes ----------------------------------------------------------------------------------


def test_no_token_is_wrong_usage(server):
    result = CliRunner().invoke(cli.main, ["--url", server.url, "job", "list"])
    assert result.exit_code == 2
    assert "ATELIER_TOKEN" in result.stderr


def test_a_wrong_token_is_refused(run):
    assert run("job", "list", ATELIER_TOKEN="atelier_nothing").exit_code == 3


def test_nobody_there_is_its_own_exit_code(run, monkeypatch):
    monkeypatch.setattr("web.cli_frame.PATIENCE", 0)
    result = run("job", "list", ATELIER_URL=f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 4
    assert "cannot reach" in result.stderr


def test_a_refusal_names_the_parameter(run, work, alice):
    data = work.dataset(alice)
    result = run("job", "submit", "train", "--family", "toy", "--dataset", data, "-p", "steps=0")
    assert result.exit_code == 3
    assert "/params/steps" in result.stderr


@pytest.mark.parametrize("pair", ["steps", "=5"])
def test_a_parameter_without_key_or_value_is_wrong_usage(run, toy, pair):
    assert run("job", "submit", "train", "--family", "toy", "-p", pair).exit_code == 2


def test_watching_ends_with_what_became_of_the_job(run, work, alice):
    outcomes = {}
    for name in ("succeeded", "failed", "cancelled"):
        job_id = work.training(alice)["id"]
        (job,) = [row for row in work.claim() if row.id == job_id]
        if name == "succeeded":
            work.succeed(job)
        elif name == "failed":
            with work.studio.db.writing() as session:
                fail(session, Lease(job.id, job.fence), "oom", "No memory.")
        outcomes[name] = job_id
    job_id = outcomes["cancelled"] = work.training(alice)["id"]
    assert run("job", "cancel", job_id).stdout == "cancelled\n"
    codes = {name: run("job", "watch", job_id).exit_code for name, job_id in outcomes.items()}
    assert codes == {"succeeded": 0, "failed": 1, "cancelled": 5}
    assert "No memory. (oom)" in run("job", "watch", outcomes["failed"]).stderr


# ---- jobs ----------------------------------------------------------------------------------------


def submit(run, work, alice, *more):
    data = work.dataset(alice)
    return run("job", "submit", "train", "--family", "toy", "--dataset", data, *more)


def test_submit_prints_the_id_and_nothing_else(run, work, alice):
    result = submit(run, work, alice, "-p", "steps=20", "--seed", "7", "--name", "first")
    assert result.exit_code == 0, result.output
    job = alice.get(f"/jobs/{result.stdout.strip()}").json
    assert (job["params"]["steps"], job["seed"], job["name"]) == (20, 7, "first")


def test_json_prints_the_object_of_the_api(run, work, alice):
    made = json.loads(submit(run, work, alice, "--json").stdout)
    assert alice.get(f"/jobs/{made['id']}").json["id"] == made["id"]
    assert json.loads(run("job", "show", made["id"], "--json").stdout)["id"] == made["id"]
    assert [job["id"] for job in json.loads(run("job", "list", "--json").stdout)] == [made["id"]]


def test_parameters_come_from_a_file_and_p_goes_first(run, work, alice, tmp_path):
    file = tmp_path / "params.json"
    file.write_text('{"steps": 5, "width": 16}')
    result = submit(run, work, alice, "--params-file", file, "-p", "steps=6")
    params = alice.get(f"/jobs/{result.stdout.strip()}").json["params"]
    assert (params["steps"], params["width"]) == (6, 16)
    file.write_text("[]")
    assert submit(run, work, alice, "--params-file", file).exit_code == 2


def test_digits_for_a_text_parameter_stay_text(run, work, alice):
    model = work.model(alice)
    result = run("job", "submit", "generate", "--model", model, "-p", "prompt=12", "-p", "count=2")
    assert result.exit_code == 0, result.output
    params = alice.get(f"/jobs/{result.stdout.strip()}").json["params"]
    assert (params["prompt"], params["count"]) == ("12", 2)


def test_the_same_key_makes_one_job(run, work, alice):
    data = work.dataset(alice)
    command = ("job", "submit", "train", "--family", "toy", "--dataset", data)
    first = run(*command, "--idempotency-key", "k", "--seed", 1)
    again = run(*command, "--idempotency-key", "k", "--seed", 1)
    other = run(*command, "--idempotency-key", "k", "--seed", 2)
    assert first.stdout == again.stdout
    assert other.exit_code == 3


def test_a_dry_run_queues_nothing(run, work, alice):
    assert submit(run, work, alice, "--dry-run", "--json").exit_code == 0
    assert json.loads(run("job", "list", "--json").stdout) == []


def test_retry_prints_a_new_id(run, work, alice):
    job_id = submit(run, work, alice).stdout.strip()
    run("job", "cancel", job_id)
    again = run("job", "retry", job_id)
    assert again.exit_code == 0
    assert alice.get(f"/jobs/{again.stdout.strip()}").json["retry_of"] == job_id


def test_pause_and_resume(run, work, alice):
    job_id = submit(run, work, alice).stdout.strip()
    assert run("job", "pause", job_id).exit_code == 0
    assert alice.get(f"/jobs/{job_id}").json["paused"]
    assert run("job", "resume", job_id).exit_code == 0
    assert not alice.get(f"/jobs/{job_id}").json["paused"]


def test_the_log_is_printed(run, work, alice):
    job_id = submit(run, work, alice).stdout.strip()
    (job,) = work.claim()
    work.report(job, log="hello\n\x1b]0;yours\x07\x1b[2Jworld")
    shown = run("job", "log", job_id).stdout
    assert shown.startswith("hello\n") and "world" in shown and "\x1b" not in shown


def test_the_list_does_not_obey_control_characters(run, work, alice):
    submit(run, work, alice, "--name", "red\x1b[31m")
    assert "\x1b" not in run("job", "list").stdout


def test_a_watch_outlives_a_restart_of_the_server(run, work, alice, server):
    job_id = submit(run, work, alice).stdout.strip()
    results = []
    watching = threading.Thread(target=lambda: results.append(run("job", "watch", job_id)))
    watching.start()
    (job,) = work.claim()
    wait_until(lambda: watching.is_alive())
    server.stop()
    server.start()
    work.succeed(job)
    watching.join(60)
    assert results[0].exit_code == 0, results[0].output


# ---- data in, data out ---------------------------------------------------------------------------


def test_an_upload_arrives(run, alice, tmp_path):
    (tmp_path / "a.txt").write_text("Once upon a time. " * 100)
    result = run("dataset", "add", tmp_path / "a.txt", "--name", "Tales", "--no-wait")
    assert result.exit_code == 0, result.output
    assert alice.get(f"/datasets/{result.stdout.strip()}").json["name"] == "Tales"
    assert "Tales" in run("dataset", "list").stdout
    assert "checking" in run("dataset", "show", result.stdout.strip()).stdout


def test_a_sample_needs_no_file(run):
    assert run("dataset", "add", "--sample", "digits", "--no-wait").exit_code == 0
    assert run("dataset", "add", "--sample", "no-such", "--no-wait").exit_code == 3


def test_neither_paths_nor_sample_is_wrong_usage(run):
    assert run("dataset", "add", "--name", "x").exit_code == 2


def test_a_dataset_is_deleted(run, work, alice):
    data = work.dataset(alice)
    assert run("dataset", "delete", data).exit_code == 0
    assert run("dataset", "show", data).exit_code == 3


def test_an_artifact_is_downloaded_under_its_name(run, work, alice, tmp_path):
    artifact = work.artifact(alice, b"once upon a time")
    result = run("artifact", "get", artifact, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "0.txt").read_bytes() == b"once upon a time"
    assert result.stdout.strip() == str(tmp_path / "0.txt")
    job_id = json.loads(run("artifact", "get", artifact, "-o", tmp_path, "--json").stdout)["job_id"]
    assert artifact in run("artifact", "list", job_id).stdout
    assert run("artifact", "delete", artifact).exit_code == 0
    assert run("artifact", "get", artifact, "-o", tmp_path).exit_code == 3


def test_results_are_starred_tagged_found_and_shared(run, work, alice):
    artifact, other = work.artifact(alice), work.artifact(alice)
    shown = run("artifact", "mark", artifact, "--star", "--tag", "best", "--json")
    assert json.loads(shown.stdout)["tags"] == ["best"]
    found = json.loads(run("artifact", "find", "--starred", "--tag", "best", "--json").stdout)
    assert [one["id"] for one in found] == [artifact]
    assert other in run("artifact", "find", "--limit", "1").stdout
    assert run("artifact", "share", artifact).stdout.strip() == "shared"
    shared = json.loads(run("artifact", "find", "--shared", "--json").stdout)
    assert [one["id"] for one in shared] == [artifact]
    assert run("artifact", "mark", artifact, "--no-star", "--untag", "best").exit_code == 0
    assert json.loads(run("artifact", "find", "--starred", "--json").stdout) == []


# ---- what can be trained, and what was -----------------------------------------------------------


def test_families_are_listed_and_shown_with_their_parameters(run, toy):
    assert "toy" in run("family", "list").stdout
    shown = run("family", "show", "toy").stdout
    assert re.search(r"^steps +100 +integer >= 1 <= 1000000 +Optimizer steps\.$", shown, re.M)
    assert json.loads(run("family", "show", "toy", "--json").stdout)["name"] == "toy"
    assert run("family", "show", "nothing").exit_code == 3


def test_models_are_listed_and_shown(run, work, alice):
    model = work.model(alice)
    assert model in run("model", "list").stdout
    assert model in run("model", "list", "--search", model).stdout
    assert model not in run("model", "list", "-q", "nothing of that name").stdout
    assert "How many." in run("model", "show", model).stdout
    assert json.loads(run("model", "show", model, "--json").stdout)["id"] == model
    assert run("model", "delete", model, "--force").exit_code == 0


def test_help_lists_the_exit_codes():
    assert "5  the job was cancelled" in CliRunner().invoke(cli.main, ["--help"]).stdout


def test_a_database_that_is_not_ours_is_left_alone(local, tmp_path):
    local("db", "upgrade")
    database = Database(Settings(data=tmp_path / "data").database)
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.dispose()
    result = local("user", "create", "ann")
    assert result.exit_code == 1
    assert "newer" in result.stderr
