"""Between users: every route is classified, and nobody reaches another's objects, numbers or keys."""

from __future__ import annotations

import json
import re
import time

import pytest
from sqlalchemy import select

from shared.ids import new_id
from shared.models import BrowserSession, Dataset, Job, Model
from tests.web.browsing import Browser
from tests.web.conftest import API
from tests.webhook_rows import add_webhook

# Every rule must be in one of these; a new one fails until somebody has thought about it.
OPEN = {
    "/healthz",
    "/readyz",
    f"{API}/healthz",
    f"{API}/readyz",
    f"{API}/openapi.json",
    f"{API}/docs",
    "/docs",
    "/static/<path:filename>",
    "/sign-in",
    "/welcome/<token>",
    "/join",
    "/join/<token>",
}
# (owner's object in the path -> which fixture makes it)
OBJECTS = {
    *("job_id", "artifact_id", "model_id", "dataset_id"),
    *("token_id", "session_id", "upload_id", "webhook_id"),
}
OWN = {
    f"{API}/artifacts",
    f"{API}/artifacts/archive",
    f"{API}/datasets",
    f"{API}/events",
    f"{API}/families",
    f"{API}/families/<name>",
    f"{API}/jobs",
    f"{API}/me",
    f"{API}/me/tokens",
    f"{API}/models",
    f"{API}/queue",
    f"{API}/uploads",
    f"{API}/webhooks",
}
# for administrators: 403 for everybody else, whatever the id (tests/web/test_people.py)
ADMIN = {
    f"{API}/audit",
    f"{API}/invitations",
    f"{API}/invitations/<invitation_id>",
    f"{API}/storage",
    f"{API}/storage/sweep",
    f"{API}/users",
    f"{API}/workers",
    f"{API}/workers/<worker_id>",
    f"{API}/workers/jobs",
    f"{API}/workers/jobs/<job_id>/cancel",
    f"{API}/users/<user_id>",
    f"{API}/users/<user_id>/link",
}
# open on this machine alone, and only where nobody else can reach the server (test_metrics.py)
LOCAL = {"/metrics"}
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")


def rules(app):
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]


def filled(rule, values):
    """The rule's path with these values in their places, whatever their converters."""
    return re.sub(r"<(?:[^:>]+:)?(\w+)>", lambda found: values[found[1]], rule.rule)


def test_every_api_rule_is_classified(app):
    strange = [
        rule.rule
        for rule in rules(app)
        if rule.rule.startswith(API)
        and rule.rule not in OPEN | OWN | ADMIN
        and not rule.arguments & OBJECTS
    ]
    assert strange == []


def test_every_rule_asks_who_is_there(app, client):
    for rule in rules(app):
        if rule.rule in OPEN:
            continue
        path = filled(rule, dict.fromkeys(rule.arguments, "1"))
        for method in rule.methods & set(METHODS):
            outside = {"REMOTE_ADDR": "203.0.113.9"} if rule.rule in LOCAL else {}
            status = client.open(path, method=method, environ_base=outside).status_code
            # a form without its CSRF token is refused before anybody is asked who they are
            refused = {401} if path.startswith(API) or method == "GET" else {400, 401, 403}
            assert status in refused, (method, rule.rule, status)


def test_what_is_for_administrators_is_refused_to_others(app, alice, person):
    root = person("root", admin=True)
    for rule in rules(app):
        for method in rule.methods & set(METHODS) if rule.rule in ADMIN else ():
            path = filled(rule, dict.fromkeys(rule.arguments, "0")).removeprefix(API)
            assert getattr(alice, method.lower())(path).status_code == 403, (method, path)
            # whatever else is wrong with it: who asks is not
            answer = getattr(root, method.lower())(path)
            assert answer.status_code not in (401, 403, 405, 500), (method, path)


def session_of(app, person):
    """The id of a browser in which this person is signed in."""
    Browser(app, person.user)
    with app.extensions["atelier"].db.reading() as session:
        return session.scalar(
            select(BrowserSession.id).where(BrowserSession.user_id == person.user.id)
        )


def test_nobody_reaches_the_objects_of_another(app, alice, bob, work):
    """The matrix: every object route, every method, with another user's id."""
    artifact_id = work.artifact(alice)
    ids = {
        "artifact_id": artifact_id,
        "job_id": alice.get(f"/artifacts/{artifact_id}").json["job_id"],
        "model_id": work.model(alice),
        "dataset_id": work.dataset(alice),
        "token_id": alice.get("/me/tokens").json["items"][0]["id"],
        "session_id": session_of(app, alice),
        "upload_id": alice.post(
            "/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1"}
        ).json["id"],
        "webhook_id": add_webhook(app.extensions["atelier"].db, alice.user.id),
        "delivery_id": "0",
        "n": "0",
        "step": "1",
    }
    tried = 0
    for rule in rules(app):
        if not rule.arguments & OBJECTS or rule.rule in OPEN:
            continue
        path = filled(rule, ids)
        for method in sorted(rule.methods & set(METHODS)):
            body = {} if method in ("GET", "DELETE") else {"json": {}}
            headers = {"Authorization": f"Bearer {bob.token}"}
            answer = bob.client.open(path, method=method, headers=headers, **body)
            # who is no administrator is told so, whatever the id
            administrators = rule.rule.startswith("/admin/") or rule.rule in ADMIN
            wanted = 403 if administrators else 404
            assert answer.status_code == wanted, (method, rule.rule, answer.text)
            tried += 1
    assert tried >= 30
    assert alice.get(f"/artifacts/{artifact_id}").status_code == 200
    with app.extensions["atelier"].db.reading() as session:
        assert session.get(BrowserSession, ids["session_id"])


def test_the_matrix_would_notice(app, alice, work, things):
    """The same reads by the owner: were an id wrong, everybody would get 404, and the matrix see nothing."""
    artifact = alice.get(f"/artifacts/{things['artifact']}").json
    ids = {
        "artifact_id": artifact["id"],
        "job_id": artifact["job_id"],
        "model_id": things["model"],
        "dataset_id": things["dataset"],
        "webhook_id": add_webhook(app.extensions["atelier"].db, alice.user.id),
        "n": "0",
    }
    read = 0
    for rule in rules(app):
        made_later = "/items/" in rule.rule or rule.rule.endswith(("/preview", "/thumbnail"))
        if rule.arguments & set(ids) and "GET" in rule.methods and not made_later:
            headers = {"Authorization": f"Bearer {alice.token}"}
            answer = alice.client.get(filled(rule, ids), headers=headers, buffered=True)
            assert answer.status_code == 200, (rule.rule, answer.text)
            read += 1
    assert read >= 15


@pytest.mark.parametrize("table", [Dataset, Model, Job])
def test_another_users_id_is_no_input(alice, bob, work, table):
    mine = work.model(bob)
    bodies = {
        Dataset: {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)},
        Model: {"kind": "generate", "model_id": work.model(alice)},
        Job: {"kind": "generate", "model_id": mine, "waits_for": work.training(alice)["id"]},
    }
    answer = bob.post("/jobs", json=bodies[table])
    assert answer.status_code == 404
    # the same as for an id that never was
    unknown = dict(bodies[table])
    name = {Dataset: "dataset_id", Model: "model_id", Job: "waits_for"}[table]
    unknown[name] = new_id()
    twin = bob.post("/jobs", json=unknown)
    assert {**twin.json, "request_id": ""} == {**answer.json, "request_id": ""}


def test_another_users_picture_is_no_reference(alice, bob, work):
    theirs, model_id = f"{work.dataset(alice)}:0", work.model(bob)
    for source in (theirs, work.artifact(alice)):
        body = {"kind": "generate", "model_id": model_id, "params": {"source": source}}
        answer = bob.post("/jobs", json=body)
        assert answer.status_code == 422
        assert answer.json["errors"][0]["pointer"] == "/params/source"


@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/environ",
        "file:///etc/passwd",
        "s3://other/bucket",
        "http://127.0.0.1/",
        "../../secret_key",
        "datasets/x/data.bin",
        "x:../../1",
        "x:-1",
        "x:" + "9" * 30,
    ],
)
def test_paths_and_addresses_are_no_ids(alice, work, path):
    model_id = work.model(alice)
    params = {"source": path}
    answer = alice.post("/jobs", json={"kind": "generate", "model_id": model_id, "params": params})
    assert answer.status_code == 422
    for name in ("dataset_id", "model_id"):
        kind = "train" if name == "dataset_id" else "generate"
        answer = alice.post("/jobs", json={"kind": kind, "family": "toy", name: path})
        assert answer.status_code == 404


def test_a_shared_model_is_for_all_until_it_is_unshared(alice, bob, work):
    model_id = work.model(alice)
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    shown = bob.get(f"/models/{model_id}")
    assert shown.status_code == 200
    assert shown.json["job_id"] is None
    assert shown.json["params"] is None
    assert shown.json["lineage"]["dataset"]["id"] is None
    assert model_id in [row["id"] for row in bob.get("/models").json["items"]]
    assert work.generation(bob, model_id=model_id)["state"] == "queued"
    assert bob.patch(f"/models/{model_id}", json={"name": "mine"}).status_code == 404
    assert bob.delete(f"/models/{model_id}").status_code == 404
    alice.patch(f"/models/{model_id}", json={"visibility": "private"})
    assert bob.get(f"/models/{model_id}").status_code == 404
    assert bob.post("/jobs", json={"kind": "generate", "model_id": model_id}).status_code == 404


def test_a_key_of_another_user_means_nothing(alice, bob, work):
    key = {"Idempotency-Key": "the-same-key-1"}
    first = alice.post(
        "/jobs",
        headers=key,
        json={"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)},
    )
    second = bob.post(
        "/jobs",
        headers=key,
        json={"kind": "train", "family": "toy", "dataset_id": work.dataset(bob)},
    )
    assert second.status_code == 202
    assert "Idempotency-Replayed" not in second.headers
    assert second.json["id"] != first.json["id"]


@pytest.mark.parametrize(
    "name",
    ["user_id", "state", "fence", "lane", "is_admin", "strikes", "lease_until", "id", "version"],
)
def test_fields_that_are_not_the_users_are_refused(alice, work, name):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice), name: 1}
    answer = alice.post("/jobs", json=body)
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"pointer": f"/{name}", "message": "is not a field here"}]
    answer = alice.patch(f"/models/{work.model(alice)}", json={name: 1})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "number",
    ["1000000000", "0", "-1", "1.5", '"10"', "true", "null", "NaN", "Infinity", "1e400",
     "9223372036854775808", "[]", "{}"],
)  # fmt: skip
def test_bad_numbers_are_refused_fast_and_nothing_is_queued(alice, work, studio, number):
    dataset_id = work.dataset(alice)
    asked = {"kind": "train", "family": "toy", "dataset_id": dataset_id, "params": {"steps": "?"}}
    body = json.dumps(asked).replace('"?"', number)
    alice.get("/me")
    took = []
    for _ in range(3):
        began = time.thread_time()
        answer = alice.post("/jobs", data=body, content_type="application/json")
        took.append(time.thread_time() - began)
        assert answer.status_code in (400, 422)
    # this thread's processor time, and the best: neither a loaded machine nor the collector of garbage decides
    assert min(took) < 0.5
    with studio.db.reading() as session:
        assert session.query(Job).count() == 0


def test_wildcards_and_quotes_are_literal(alice, work):
    work.training(alice, name="plain")
    for text in ("%", "_", "' OR 1=1 --", "\\", '"'):
        assert alice.get("/jobs", query_string={"q": text}).json["items"] == []


def test_line_breaks_stay_out_of_headers_and_logs(alice, work, caplog):
    answer = alice.post("/jobs", headers={"Idempotency-Key": "abcdefgh ijkl"}, json={"kind": "x"})
    assert answer.status_code == 422
    answer = alice.get("/jobs/a%0d%0aX-Evil:%201")
    assert answer.status_code == 404
    assert "X-Evil" not in answer.headers


def test_markup_in_names_stays_text(alice, work):
    name = '<img src=x onerror=alert(1)>"</script>'
    job = work.training(alice, name=name)
    answer = alice.get(f"/jobs/{job['id']}")
    assert answer.json["name"] == name
    assert answer.mimetype == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
