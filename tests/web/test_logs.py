"""Logs: JSON lines with request, user and job, and no prompt, name, token or secret, in no log and no answer."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from shared import disk
from shared.log import JsonFormatter
from tests.servers import wait_until
from tests.work import FAMILIES, WorkerProcess, add_dataset, add_model
from web import create_app

CANARIES = {
    "prompt": "canary-prompt-7f3a",
    "name": "canary-name-7f3a",
    "secret_key": "canary-secret-key-7f3a-0123456789abcdef",
    "metrics_token": "canary-metrics-token-7f3a",
    "password": "canary password 7f3a",
}


@pytest.fixture
def logged():
    """Everything that this process logs, at the finest level."""
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    level = root.level
    root.addHandler(handler)
    root.setLevel("DEBUG")
    sqlalchemy = logging.getLogger("sqlalchemy")
    sqlalchemy.setLevel("WARNING")  # as set_up_logging() does
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)
    sqlalchemy.setLevel("NOTSET")


def test_lines_of_a_request_say_whose_it_is_and_what_it_is_about(logged, alice, work, client):
    job_id = work.training(alice)["id"]
    alice.get(f"/jobs/{job_id}", headers={"X-Request-ID": "trace-1.a_B"})
    client.get("/api/v1/me")
    lines = [line for line in logged() if line["logger"] == "web.security"]
    submitted, shown, refused = lines[-3:]
    assert (submitted["job_id"], submitted["user_id"]) == (job_id, alice.user.id)
    assert (shown["job_id"], shown["request_id"]) == (job_id, "trace-1.a_B")
    assert "/api/v1/jobs/<job_id> 200" in shown["message"]
    assert "job_id" not in refused and "user_id" not in refused


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("trace-1.a_B", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("two words", False),
        ("a\tb", False),
        ("<b>", False),
        ("atelier_0123456789ab_secret", False),
    ],
)
def test_a_request_id_is_taken_when_it_is_sane_and_made_otherwise(client, given, kept):
    answer = client.get("/api/v1/me", headers={"X-Request-ID": given})
    told = answer.headers["X-Request-Id"]
    assert told == answer.json["request_id"]
    assert (told == given) is kept
    assert told


def test_an_exception_is_logged_without_its_words(logged):
    try:
        try:
            raise KeyError(CANARIES["prompt"])
        except KeyError as error:
            raise ValueError(CANARIES["prompt"]) from error
    except ValueError:
        logging.getLogger("x").exception("it failed")
    (line,) = [line for line in logged() if line["logger"] == "x"]
    assert "builtins.ValueError" in line["exception"] and "builtins.KeyError" in line["exception"]
    assert "test_logs.py" in line["exception"]
    assert CANARIES["prompt"] not in json.dumps(line)


@pytest.fixture
def telling(tmp_path):
    """A family that fails with the prompt in its words."""
    source = (FAMILIES / "sleep_steps.py").read_text()
    source = source.replace('name="sleep_steps"', 'name="telling"')
    source = source.replace("time.sleep(max(", "self.tell(); time.sleep(max(")
    source = source.replace(
        "    def drop(self",
        "    def tell(self):\n"
        "        for item, _ in self._slots.values():\n"
        "            raise ValueError(item.params.word)\n\n"
        "    def drop(self",
    )
    folder = tmp_path / "families"
    folder.mkdir()
    (folder / "telling.py").write_text(source)
    return folder


@pytest.fixture
def installation(make_settings, sqlite_url, valkey, telling, logged):
    settings = make_settings(
        database_url=sqlite_url,
        redis_url=valkey.url,
        family_path=f"{FAMILIES}:{telling}",
        families="sleep_steps,telling",
        log_level="DEBUG",
        secret_key=CANARIES["secret_key"],
        metrics_token=CANARIES["metrics_token"],
    )
    app = create_app(settings)
    worker = WorkerProcess(settings)
    yield app, worker
    worker.kill_group()
    worker.assert_nothing_left()
    app.extensions["atelier"].close()


def test_no_canary_leaves_its_cage(installation, logged, monkeypatch):
    from web.services.accounts import create_user
    from web.services.tokens import issue_token

    app, worker = installation
    studio, client = app.extensions["atelier"], app.test_client()
    user = create_user(studio.db, "ann", True)
    token = issue_token(studio.db, user, "test")["token"]
    headers = {"Authorization": f"Bearer {token}"}
    wait_until(lambda: client.get("/readyz").json.get("families") == 2, 60, "families")
    models = {
        family: add_model(studio.db, studio.storage, user.id, family)
        for family in ("sleep_steps", "telling")
    }
    add_dataset(studio.db, studio.storage, user.id)
    answers = []

    def post(**body):
        answer = client.post(
            "/api/v1/jobs", json={"name": CANARIES["name"], **body}, headers=headers
        )
        return answer

    ended = {}
    for family, model_id in models.items():
        params = {"word": CANARIES["prompt"]}
        made = post(kind="generate", model_id=model_id, params=params)
        assert made.status_code == 202, made.text
        address = f"/api/v1/jobs/{made.json['id']}?wait=10"

        def has_ended(family=family, address=address):
            ended[family] = client.get(address, headers=headers).json
            return ended[family]["state"] in ("succeeded", "failed")

        wait_until(has_ended, 60, "the end")
    assert {family: job["state"] for family, job in ended.items()} == {
        "sleep_steps": "succeeded",
        "telling": "failed",
    }
    # its owner is told what the family said
    assert CANARIES["prompt"] in ended["telling"]["error"]["message"]
    # refusals: a wrong value, a wrong field, a wrong token, a wrong password, a fault of ours
    model_id = models["sleep_steps"]
    wrong = {"word": CANARIES["prompt"] * 50, "count": 1}
    answers.append(post(kind="generate", model_id=model_id, params=wrong))
    answers.append(
        post(kind="generate", model_id=model_id, params={"word": 3}, seed=CANARIES["prompt"])
    )
    answers.append(client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}x"}))
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)[1]
    form = {"csrf_token": csrf, "name": "ann", "password": CANARIES["password"]}
    answers.append(client.post("/sign-in", data=form))
    assert answers[-1].status_code == 401, "the password was not looked at"
    with monkeypatch.context() as patch:
        patch.setattr(disk, "usage", lambda _: int(CANARIES["prompt"]))
        asked = {"params": {"word": CANARIES["prompt"]}}
        answers.append(post(kind="generate", model_id=model_id, **asked))
    assert [answer.status_code for answer in answers[:3]] == [422, 422, 401]
    assert answers[-1].status_code == 500
    metrics = client.get("/metrics", headers=headers).text
    assert "telling" in metrics
    everything = {
        "web's log": json.dumps(logged()),
        "the worker's log": worker.log.read_text(),
        "metrics": metrics,
        "refusals": "".join(answer.text for answer in answers),
    }
    assert "/api/v1/jobs" in everything["web's log"]
    secrets = {**CANARIES, "token": token.split("_", 2)[2], "password": CANARIES["password"]}
    found = [
        (place, name)
        for place, text in everything.items()
        for name, secret in secrets.items()
        if secret in text
    ]
    assert not found, found
    for line in worker.log.read_text().splitlines():
        json.loads(line)
