"""/webhooks: made with a secret that is shown once, changed, tried, told about; never into the house."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import func, select, update

from shared import webhooks as rows
from shared.models import ApiToken, AuditEntry, OutboxMessage, User, Webhook
from shared.webhooks import Reply
from tests.web.conftest import Person
from web.services.tokens import issue_token
from web.services.webhooks import MOST
from web.throttle import WEBHOOKS

URL = "http://127.0.0.1:8123/hook?key=canary"


@pytest.fixture(autouse=True)
def open_loopback(limits):
    limits(webhook_networks="127.0.0.0/8")


@pytest.fixture
def hook(alice):
    return alice.post("/webhooks", json={"url": URL, "name": "mine"}).json


def settle(studio, reply):
    """As the worker does."""
    with studio.db.writing() as session:
        (parcel,) = rows.claim(session, rows.candidates(session, 8), 60.0)
        rows.settle(session, parcel, reply)


def test_a_webhook_is_made_and_its_secret_shown_once(alice):
    made = alice.post("/webhooks", json={"url": URL})
    assert made.status_code == 201
    assert made.json["secret"].startswith("whsec_")
    assert made.json["name"] == "127.0.0.1"
    assert made.json["events"] == ["job.cancelled", "job.failed", "job.succeeded"]
    for path in ("/webhooks", f"/webhooks/{made.json['id']}"):
        answer = alice.get(path)
        assert answer.status_code == 200
        assert "secret" not in answer.text.replace("old_secret_until", "")
        assert made.json["secret"] not in answer.text


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/",
        "ftp://example.com/",
        "https://user@127.0.0.1:8123/",
        "http://127.0.0.1:6379/",
        "https://no-such-host.invalid/",
        "",
        "x",
        "https://127.0.0.1:8123/\n",
        "https://127.0.0.1:8123/" + "a" * 2000,
        None,
        7,
    ],
)
def test_a_url_that_may_not_be_reached_is_refused_when_it_is_saved(alice, hook, url):
    """Attacks 70 and 73, at the door."""
    for method, path in (("post", "/webhooks"), ("patch", f"/webhooks/{hook['id']}")):
        answer = getattr(alice, method)(path, json={"url": url})
        if url is None and method == "patch":
            assert answer.status_code == 200  # null leaves it as it is
            continue
        assert answer.status_code == 422, (method, answer.text)
        assert answer.json["errors"][0]["pointer"] == "/url"
    assert alice.get(f"/webhooks/{hook['id']}").json["url"] == URL


@pytest.mark.parametrize(
    "events", [[], ["job.started"], ["job.failed", "job.failed"], "job.failed"]
)
def test_events_are_those_there_are(alice, events):
    answer = alice.post("/webhooks", json={"url": URL, "events": events})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"].startswith("/events")


def test_it_is_changed_and_switched_off_and_on(alice, hook, studio):
    path = f"/webhooks/{hook['id']}"
    alice.post(f"{path}/test")
    off = alice.patch(path, json={"enabled": False, "name": "renamed", "events": ["job.failed"]})
    assert (off.json["enabled"], off.json["name"]) == (False, "renamed")
    assert off.json["events"] == ["job.failed"]
    (delivery,) = alice.get(f"{path}/deliveries").json["items"]
    assert (delivery["state"], delivery["error"]) == ("failed", "stopped")
    assert alice.post(f"{path}/test").status_code == 409
    assert alice.post(f"{path}/deliveries/{delivery['id']}/again").status_code == 409
    assert alice.patch(path, json={"enabled": True}).json["enabled"] is True
    assert alice.post(f"{path}/deliveries/{delivery['id']}/again").status_code == 202


def test_what_it_has_is_not_looked_up_again(alice, hook, limits):
    """Its host may be unknown for a while, or its network closed: no reason not to rename it."""
    limits(webhook_networks="")
    path = f"/webhooks/{hook['id']}"
    assert alice.patch(path, json={"url": URL, "name": "renamed"}).json["name"] == "renamed"
    assert alice.patch(path, json={"url": URL + "2"}).status_code == 422


def test_why_it_was_stopped_stays_until_it_is_mended(alice, hook, studio):
    path = f"/webhooks/{hook['id']}"
    alice.post(f"{path}/test")
    settle(studio, Reply(410, "status"))
    assert alice.patch(path, json={"enabled": False}).json["stopped_why"] == "gone"
    mended = alice.patch(path, json={"url": URL + "2"}).json
    assert (mended["enabled"], mended["stopped_why"]) == (False, None)


def test_a_new_secret_signs_beside_the_old_one(alice, hook, studio):
    made = alice.post(f"/webhooks/{hook['id']}/secret")
    assert made.status_code == 201
    assert made.json["secret"] != hook["secret"]
    assert made.json["old_secret_until"] is not None
    alice.post(f"/webhooks/{hook['id']}/test")
    with studio.db.writing() as session:
        (parcel,) = rows.claim(session, rows.candidates(session, 8), 60.0)
    assert parcel.secrets == (made.json["secret"], hook["secret"])


def test_a_secret_made_twice_by_mistake_ends_nothing(alice, hook):
    path = f"/webhooks/{hook['id']}/secret"
    assert alice.post(path).status_code == 201
    assert alice.post(path).status_code == 409
    made = alice.post(path, json={"revoke": True})
    assert (made.status_code, made.json["old_secret_until"]) == (201, None)
    assert alice.post(path, json={"revoke": 1}).status_code == 422


def test_deliveries_tell_how_it_went_and_not_what_was_answered(alice, hook, studio):
    path = f"/webhooks/{hook['id']}"
    sent = alice.post(f"{path}/test")
    assert (sent.status_code, sent.json["state"], sent.json["attempts"]) == (202, "pending", 0)
    settle(studio, Reply(500, "status"))
    (delivery,) = alice.get(f"{path}/deliveries").json["items"]
    assert delivery["id"] == sent.json["id"]
    assert (delivery["type"], delivery["job_id"]) == ("webhook.test", None)
    assert (delivery["state"], delivery["attempts"]) == ("pending", 1)
    assert (delivery["status"], delivery["error"]) == (500, "status")
    assert delivery["next_attempt_at"] is not None
    assert alice.get(path).json["failing_since"] is not None
    again = f"{path}/deliveries/{delivery['id']}/again"
    assert alice.post(again).status_code == 409
    with studio.db.writing() as session:
        session.execute(update(OutboxMessage).values(due_at=1.0))
    settle(studio, Reply(204))
    (delivery,) = alice.get(f"{path}/deliveries").json["items"]
    assert (delivery["state"], delivery["status"], delivery["error"]) == ("sent", 204, None)
    assert delivery["next_attempt_at"] is None
    pending = alice.post(again).json
    assert (pending["state"], pending["sent_at"]) == ("pending", None)


def test_deliveries_come_in_pages(alice, hook):
    path = f"/webhooks/{hook['id']}"
    ids = [alice.post(f"{path}/test").json["id"] for _ in range(5)]
    first = alice.get(f"{path}/deliveries?limit=3").json
    second = alice.get(f"{path}/deliveries?limit=3&after={first['next']}").json
    assert [one["id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None


def test_deleted_with_what_it_was_told(alice, hook, studio):
    alice.post(f"/webhooks/{hook['id']}/test")
    assert alice.delete(f"/webhooks/{hook['id']}").status_code == 204
    assert alice.get("/webhooks").json["items"] == []
    assert alice.delete(f"/webhooks/{hook['id']}").status_code == 404
    with studio.db.reading() as session:
        assert session.scalar(select(func.count()).select_from(OutboxMessage)) == 0


def test_a_user_has_so_many(alice, studio, hook):
    with studio.db.writing() as session:
        row = session.scalars(select(Webhook)).one()
        for n in range(MOST - 1):
            more = {"user_id": row.user_id, "url": URL, "events": "job.failed", "secret": ""}
            session.add(Webhook(name=str(n), created_at=1.0, **more))
    answer = alice.post("/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_the_server_asks_others_only_so_often(alice, bob, hook):
    """Names are looked up, and messages sent, at a user's word: nobody may make a load of it."""
    path = f"/webhooks/{hook['id']}/test"
    statuses = [alice.post(path).status_code for _ in range(WEBHOOKS.amount)]
    assert (statuses[0], statuses[-1]) == (202, 429)
    assert bob.post("/webhooks", json={"url": URL}).status_code == 201


def test_narrow_tokens_make_none(app, studio, alice):
    token = issue_token(studio.db, alice.user, "narrow", scopes=["jobs:read", "jobs:write"])[
        "token"
    ]
    narrow = Person(alice.user, token, app.test_client())
    assert narrow.get("/webhooks").status_code == 403
    assert narrow.post("/webhooks", json={"url": URL}).status_code == 403


def test_the_audit_has_the_place_and_not_the_path(alice, hook, studio):
    """The path of a webhook is often a password."""
    alice.patch(f"/webhooks/{hook['id']}", json={"url": URL + "2"})
    alice.patch(f"/webhooks/{hook['id']}", json={"name": "Lab", "events": ["job.failed"]})
    alice.patch(f"/webhooks/{hook['id']}", json={"name": "Lab"})  # nothing new, nothing to tell
    for enabled in (False, True):
        alice.patch(f"/webhooks/{hook['id']}", json={"enabled": enabled})
    alice.post(f"/webhooks/{hook['id']}/secret")
    alice.delete(f"/webhooks/{hook['id']}")
    with studio.db.reading() as session:
        entries = [
            entry
            for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))
            if entry.subject_type == "webhook"
        ]
    assert [entry.action for entry in entries] == [
        *("webhook_made", "webhook_changed", "webhook_changed", "webhook_switched_off"),
        *("webhook_switched_on", "webhook_secret_made", "webhook_deleted"),
    ]
    assert "canary" not in json.dumps([entry.facts for entry in entries])
    assert entries[0].facts == {"to": "http://127.0.0.1:8123"}
    assert entries[1].facts == {"changed": "url", "to": "http://127.0.0.1:8123"}
    assert entries[2].facts == {"changed": "name, events"}


def test_what_is_sent_holds_no_secret_and_no_prompt(alice, hook, studio, work):
    """Attack 16."""
    job = work.generation(alice, params={"count": 1, "prompt": "canary prompt"})
    assert alice.post(f"/jobs/{job['id']}/cancel").status_code == 200
    with studio.db.reading() as session:
        (message,) = session.scalars(select(OutboxMessage).where(OutboxMessage.job_id == job["id"]))
        token = session.scalars(select(ApiToken)).first()
    said = rows.body_of(message)
    assert job["id"] in said
    for canary in ("canary", hook["secret"], token.sha256, alice.token):
        assert canary not in said


def test_webhooks_of_who_is_deactivated_stop(alice, hook, studio, person):
    """Attack 7."""
    alice.post(f"/webhooks/{hook['id']}/test")
    root = person("root", admin=True)
    assert root.patch(f"/users/{alice.user.id}", json={"active": False}).status_code == 200
    with studio.db.writing() as session:
        assert session.get(User, alice.user.id).active is False
        assert rows.candidates(session, 8) == []
    assert root.patch(f"/users/{alice.user.id}", json={"active": True}).status_code == 200
    with studio.db.reading() as session:
        assert rows.candidates(session, 8) == []  # what waited is not told late
