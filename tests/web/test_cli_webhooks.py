"""`atelier webhook` and `client.webhooks`, over real HTTP."""

from __future__ import annotations

import json

import pytest

from atelier_client import Client, Conflict, InvalidInput, NotFound
from shared import webhooks as rows
from shared.webhooks import Reply
from tests.web.test_cli_more import run, run_as, server

__all__ = ["run", "run_as", "server"]
URL = "http://127.0.0.1:8123/hook"


@pytest.fixture(autouse=True)
def open_loopback(limits):
    limits(webhook_networks="127.0.0.0/8")


def shown(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def settle(studio, reply):
    """As the worker does."""
    with studio.db.writing() as session:
        (parcel,) = rows.claim(session, rows.candidates(session, 8), 60.0)
        rows.settle(session, parcel, reply)


def test_the_commands(run, studio):
    made = run("webhook", "create", URL, "--event", "job.failed", "--name", "alarm")
    assert made.exit_code == 0 and made.stdout.startswith("whsec_")
    (hook,) = shown(run("webhook", "list", "--json"))
    assert (hook["name"], hook["events"], hook["enabled"]) == ("alarm", ["job.failed"], True)
    assert "alarm" in run("webhook", "list").stdout
    changed = shown(
        run("webhook", "set", hook["id"], "--off", "--event", "job.succeeded", "--json")
    )
    assert (changed[0]["enabled"], changed[0]["events"]) == (False, ["job.succeeded"])
    assert run("webhook", "test", hook["id"]).exit_code != 0  # it is off
    assert shown(run("webhook", "set", hook["id"], "--on", "--json"))[0]["enabled"]
    assert run("webhook", "rename", hook["id"], "bell").stdout == "bell\n"
    assert shown(run("webhook", "show", hook["id"], "--json"))["name"] == "bell"
    assert run("webhook", "new-secret", hook["id"]).stdout not in ("", made.stdout)
    message = run("webhook", "test", hook["id"]).stdout.strip()
    settle(studio, Reply(204))
    (delivery,) = shown(run("webhook", "deliveries", hook["id"], "--json"))
    assert (delivery["id"], delivery["state"], delivery["status"]) == (message, "sent", 204)
    assert "webhook.test" in run("webhook", "deliveries", hook["id"]).stdout
    assert run("webhook", "send-again", hook["id"], message).stdout.strip() == message
    assert run("webhook", "delete", hook["id"]).exit_code == 0
    assert shown(run("webhook", "list", "--json")) == []


def test_a_refused_url_names_the_field(run):
    refused = run("webhook", "create", "https://10.0.0.1/")
    assert refused.exit_code == 3
    assert "/url" in refused.stderr and "may not reach" in refused.stderr


def test_the_client(server, alice, studio):
    with Client(server.url, alice.token) as client:
        made = client.webhooks.create(URL, events=["job.succeeded", "job.failed"])
        assert made.secret.startswith("whsec_")
        assert [hook.id for hook in client.webhooks.list()] == [made.id]
        assert client.webhooks.get(made.id).url == URL
        delivery = client.webhooks.test(made.id)
        assert (delivery.type, delivery.state) == ("webhook.test", "pending")
        with pytest.raises(Conflict):
            client.webhooks.send_again(made.id, delivery.id)
        settle(studio, Reply(500, "status"))
        (delivery,) = client.webhooks.deliveries(made.id)
        assert (delivery.attempts, delivery.status, delivery.error) == (1, 500, "status")
        assert client.webhooks.change(made.id, enabled=False).enabled is False
        with pytest.raises(InvalidInput):
            client.webhooks.create("http://10.0.0.1/")
        client.webhooks.delete(made.id)
        with pytest.raises(NotFound):
            client.webhooks.get(made.id)
