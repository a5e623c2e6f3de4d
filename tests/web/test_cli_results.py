"""The command line where results go on: more steps, checkpoints, archives, previews; and accounts, tokens, datasets."""

from __future__ import annotations

import json
import threading
import zipfile

import pytest
from PIL import Image

from shared import short_tasks
from tests.servers import wait_until
from tests.web.test_cli_more import ids, run, run_as, server
from worker.tasks import HANDLERS

__all__ = ["run", "run_as", "server"]


def shown(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def finished(work, alice):
    """A training of 100 steps with two checkpoints."""
    job_id = work.training(alice, params={"steps": 100}, name="mine")["id"]
    (row,) = work.claim()
    for step, score in ((50, 2.0), (100, 2.5)):
        work.report(row, step=step, total=100)
        work.checkpoint(row, step, score)
    work.succeed(row, model=True)
    return job_id


def test_a_finished_training_goes_on(run, alice, finished):
    made = run("job", "continue", finished, "--steps", 150, "--name", "longer")
    job = alice.get(f"/jobs/{made.stdout.strip()}").json
    assert (job["continues"], job["continues_step"]) == (finished, 100)
    assert (job["params"]["steps"], job["name"]) == (150, "longer")
    earlier = shown(run("job", "continue", finished, "--steps", 150, "--checkpoint", 50, "--json"))
    assert earlier["continues_step"] == 50
    refused = run("job", "continue", finished, "--steps", 100)
    assert refused.exit_code == 3 and "/steps" in refused.stderr


def test_the_same_key_continues_once(run, finished):
    go_on = ("job", "continue", finished, "--steps", 150, "--idempotency-key", "k")
    assert run(*go_on).stdout == run(*go_on).stdout


def test_a_checkpoint_becomes_a_model(run, alice, finished):
    listed = shown(run("job", "checkpoints", finished, "--json"))
    assert [(one["step"], one["final"]) for one in listed] == [(100, True), (50, False)]
    assert "50" in run("job", "checkpoints", finished).stdout
    made = run("job", "make-model", finished, 50, "--name", "half")
    job = alice.get(f"/jobs/{made.stdout.strip()}").json
    assert (job["continues_step"], job["params"]["steps"], job["name"]) == (50, 50, "half")
    assert run("job", "make-model", finished, 51).exit_code == 3


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_waiting_for_a_new_job_prints_it_once_and_ends_as_it_does(run, work, finished, how):
    results = []
    go_on = ("job", "continue", finished, "--steps", 150, "--wait", *how)
    waiting = threading.Thread(target=lambda: results.append(run(*go_on)))
    waiting.start()
    (row,) = wait_until(work.claim)
    work.succeed(row, model=True)
    waiting.join(60)
    assert results[0].exit_code == 0, results[0].output
    if how:
        assert shown(results[0])["state"] == "succeeded"
    else:
        assert results[0].stdout == f"{row.id}\n"


def test_results_leave_as_zips(run, work, alice, tmp_path):
    job_id = work.generation(alice)["id"]
    (row,) = [one for one in work.claim() if one.id == job_id]
    work.succeed(row, (b"one", b"two"))
    made = [one["id"] for one in shown(run("artifact", "list", job_id, "--json"))]
    whole = run("job", "archive", job_id, "-o", tmp_path / "all.zip")
    assert whole.stdout.strip() == str(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.namelist() == ["manifest.json", "0.txt", "1.txt"]
    shown(run("artifact", "archive", *made, "-o", tmp_path / "some.zip", "--json"))
    with zipfile.ZipFile(tmp_path / "some.zip") as archive:
        assert archive.read(f"{job_id}/1.txt") == b"two"
    assert run("artifact", "archive", "none", "-o", tmp_path / "none.zip").exit_code == 3
    assert not (tmp_path / "none.zip").exists()
    card = shown(run("artifact", "show", made[0], "--json"))
    assert (card["name"], card["job_id"]) == ("0.txt", job_id)
    assert job_id in run("artifact", "lineage", made[0]).stdout
    model_id = alice.get(f"/jobs/{job_id}").json["model_id"]
    path = run("model", "download", model_id, "-o", tmp_path).stdout.strip()
    with zipfile.ZipFile(path) as archive:
        assert "model.safetensors" in archive.namelist()


def test_previews_of_a_training_are_listed(run, work, alice):
    job_id = work.training(alice)["id"]
    assert shown(run("job", "previews", job_id, "--json")) == []
    assert run("job", "previews", job_id).stdout.startswith("ID")


def test_a_dataset_is_looked_at_and_taken_away(run, studio, work, alice, tmp_path):
    data = work.dataset(alice)
    work.preview(data)
    studio.storage.put_bytes(f"datasets/{data}/data.bin", b"png")
    assert shown(run("dataset", "preview", data, "--json"))["items"] == 1
    assert "items" in run("dataset", "preview", data).stdout
    assert run("dataset", "rename", data, "Flowers").stdout == "Flowers\n"
    assert run("dataset", "item", data, 0, "-o", tmp_path / "a.png").exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == b"png"
    path = run("dataset", "download", data, "-o", tmp_path).stdout.strip()
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["manifest.jsonl", "items/000000-a.png"]


def test_pictures_get_their_captions_and_bad_files_are_left_out(run, studio, tmp_path):
    def check():
        with studio.db.writing() as session:
            task = short_tasks.claim_due(session, 60)
        HANDLERS[task.name](studio.settings, studio.db, studio.storage, task.arguments)

    (tmp_path / "pictures").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    (tmp_path / "captions.csv").write_text("file_name,caption\na.png,a black square\n")
    add = ("dataset", "add", tmp_path / "pictures", "--table", tmp_path / "captions.csv")
    for how in (("--at-once",), ("--resumable", "--accept-partial")):
        made = run(*add, *how, "--no-wait").stdout.strip()
        check()
        if how == ("--at-once",):
            assert shown(run("dataset", "show", made, "--json"))["state"] == "refused"
            assert run("dataset", "accept", made, "--no-wait").exit_code == 0
            check()
        assert shown(run("dataset", "show", made, "--json"))["state"] == "ready"
        (item,) = shown(run("dataset", "items", made, "--json"))
        assert (item["name"], item["caption"]) == ("a.png", "a black square")


def test_uploads_are_listed_and_deleted(run, alice):
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "8"}
    upload = alice.post("/uploads", headers=headers).json["id"]
    assert ids(run("upload", "list", "--json")) == {upload}
    assert shown(run("upload", "show", upload, "--json"))["offset"] == 0
    assert run("upload", "delete", upload).exit_code == 0
    assert ids(run("upload", "list", "--json")) == set()


def test_quotas_are_shown_with_their_use(run, work, alice):
    work.training(alice)
    assert shown(run("me", "--json"))["use"]["queued_jobs"] == 1
    text = run("me").stdout
    assert "queued_jobs" in text and "10000" in text


def test_tokens_with_scopes_are_made_listed_and_revoked(run, work, alice):
    made = shown(run("token", "create", "reader", "--scope", "jobs:read", "--json"))
    narrow = {"ATELIER_TOKEN": made["token"]}
    assert run("job", "list", **narrow).exit_code == 0
    refused = run("dataset", "list", **narrow)
    assert refused.exit_code == 3 and "datasets:read" in refused.stderr
    assert run("token", "list", **narrow).exit_code == 3
    assert made["id"] in ids(run("token", "list", "--json"))
    assert "jobs:read" in run("token", "list").stdout
    assert run("token", "delete", made["id"]).exit_code == 0
    assert run("job", "list", **narrow).exit_code == 3
    assert run("token", "create", "x", "--scope", "everything").exit_code == 2


def test_administrators_read_the_audit_and_invite(run, run_as, person, limits):
    root = run_as(person("root", admin=True))
    assert "closed" in root("invitation", "create").stderr
    limits(sign_up="invite")
    assert run("audit").exit_code == 3
    link = root("invitation", "create", "--note", "for Eve").stdout
    assert "/join/" in link
    (one,) = ids(root("invitation", "list", "--json"))
    assert root("invitation", "delete", one).exit_code == 0
    assert root("invitation", "list", "--json").stdout == "[]\n"
    actions = [entry["action"] for entry in shown(root("audit", "--json"))]
    assert actions[0].startswith("invitation_") and "root" in root("audit", "--limit", 1).stdout


def test_a_log_is_json_when_that_is_asked(run, work, alice):
    job_id = work.training(alice)["id"]
    assert shown(run("job", "log", job_id, "--json")) == {"id": job_id, "log": ""}
