"""What the API can do, the client and the command line can do: each call with its method and its command."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path

import click
import pytest

import atelier_client
from atelier_client import Client
from atelier_client.account import SCOPES
from atelier_client.webhooks import EVENTS
from shared import webhooks
from web import cli, requests
from web.api.document import api_calls

# call -> (method of the client, command); an empty one is reached by what stands beside it, and says why
REACH = {
    "GET /families": ("families.list", "family list"),
    "GET /families/{name}": ("families.get", "family show"),
    "GET /datasets": ("datasets.list", "dataset list"),
    "POST /datasets": ("datasets.add", "dataset add"),
    "GET /datasets/{dataset_id}": ("datasets.get", "dataset show"),
    "PATCH /datasets/{dataset_id}": ("datasets.change", "dataset rename"),
    "DELETE /datasets/{dataset_id}": ("datasets.delete", "dataset delete"),
    "POST /datasets/{dataset_id}/accept": ("datasets.accept", "dataset accept"),
    "GET /datasets/{dataset_id}/preview": ("datasets.preview", "dataset preview"),
    "GET /datasets/{dataset_id}/items": ("datasets.items", "dataset items"),
    "GET /datasets/{dataset_id}/items/{n}/content": ("datasets.item", "dataset item"),
    "GET /datasets/{dataset_id}/items/{n}/thumbnail": ("datasets.thumbnail", ""),  # for screens
    "GET /datasets/{dataset_id}/archive": ("datasets.download", "dataset download"),
    "GET /uploads": ("uploads.list", "upload list"),
    "POST /uploads": ("uploads.begin", "dataset add"),
    "OPTIONS /uploads": ("", ""),  # of the protocol
    "GET /uploads/{upload_id}": ("uploads.get", "upload show"),
    "PATCH /uploads/{upload_id}": ("uploads.send", "dataset add"),
    "DELETE /uploads/{upload_id}": ("uploads.delete", "upload delete"),
    "POST /jobs": ("jobs.submit", "job submit"),
    "GET /jobs": ("jobs.list", "job list"),
    "GET /jobs/{job_id}": ("jobs.get", "job show"),
    "DELETE /jobs/{job_id}": ("jobs.delete", "job delete"),
    "POST /jobs/{job_id}/cancel": ("jobs.cancel", "job cancel"),
    "POST /jobs/{job_id}/pause": ("jobs.pause", "job pause"),
    "POST /jobs/{job_id}/resume": ("jobs.resume", "job resume"),
    "POST /jobs/{job_id}/retry": ("jobs.retry", "job retry"),
    "POST /jobs/{job_id}/continue": ("jobs.continue_to", "job continue"),
    "GET /jobs/{job_id}/checkpoints": ("jobs.checkpoints", "job checkpoints"),
    "POST /jobs/{job_id}/checkpoints/{step}/model": ("jobs.make_model", "job make-model"),
    "GET /jobs/{job_id}/events": ("jobs.follow", "job watch"),
    "GET /jobs/{job_id}/metrics": ("jobs.metrics", "job metrics"),
    "GET /jobs/{job_id}/previews": ("jobs.previews", "job previews"),
    "GET /jobs/{job_id}/log": ("jobs.log", "job log"),
    "GET /jobs/{job_id}/archive": ("jobs.archive", "job archive"),
    "GET /artifacts": ("artifacts.list", "artifact find"),
    "PATCH /artifacts/{artifact_id}": ("artifacts.change", "artifact mark"),
    "GET /artifacts/{artifact_id}/thumbnail": ("artifacts.thumbnail", ""),  # for screens
    "GET /artifacts/{artifact_id}": ("artifacts.get", "artifact show"),
    "GET /artifacts/{artifact_id}/content": ("artifacts.download", "artifact get"),
    "GET /artifacts/{artifact_id}/lineage": ("artifacts.lineage", "artifact lineage"),
    "DELETE /artifacts/{artifact_id}": ("artifacts.delete", "artifact delete"),
    "POST /artifacts/archive": ("artifacts.archive", "artifact archive"),
    "GET /models": ("models.list", "model list"),
    "GET /models/{model_id}": ("models.get", "model show"),
    "PATCH /models/{model_id}": ("models.change", "model rename"),
    "DELETE /models/{model_id}": ("models.delete", "model delete"),
    "GET /models/{model_id}/archive": ("models.download", "model download"),
    "GET /me": ("me", "me"),
    "GET /me/tokens": ("tokens.list", "token list"),
    "POST /me/tokens": ("tokens.create", "token create"),
    "DELETE /me/tokens/{token_id}": ("tokens.delete", "token delete"),
    "DELETE /me/tokens": ("tokens.delete", "token delete"),  # the same by query
    "GET /workers": ("workers.list", "worker list"),
    "PATCH /workers/{worker_id}": ("workers.drain", "worker drain"),
    "GET /workers/jobs": ("workers.jobs", "worker jobs"),
    "POST /workers/jobs/{job_id}/cancel": ("workers.cancel_job", "worker cancel-job"),
    "GET /webhooks": ("webhooks.list", "webhook list"),
    "POST /webhooks": ("webhooks.create", "webhook create"),
    "GET /webhooks/{webhook_id}": ("webhooks.get", "webhook show"),
    "PATCH /webhooks/{webhook_id}": ("webhooks.change", "webhook set"),
    "DELETE /webhooks/{webhook_id}": ("webhooks.delete", "webhook delete"),
    "POST /webhooks/{webhook_id}/secret": ("webhooks.new_secret", "webhook new-secret"),
    "POST /webhooks/{webhook_id}/test": ("webhooks.test", "webhook test"),
    "GET /webhooks/{webhook_id}/deliveries": ("webhooks.deliveries", "webhook deliveries"),
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/again": (
        "webhooks.send_again",
        "webhook send-again",
    ),
    "GET /events": ("", ""),  # for pages: which job of mine has ended
    "GET /queue": ("queue", "queue"),
    "GET /storage": ("storage", "storage"),
    "POST /storage/sweep": ("sweep", "storage"),
    "GET /audit": ("audit", "audit"),
    "GET /invitations": ("invitations.list", "invitation list"),
    "POST /invitations": ("invitations.create", "invitation create"),
    "DELETE /invitations/{invitation_id}": ("invitations.delete", "invitation delete"),
    # `atelier user` works on the data folder, whether or not the server runs
    "GET /users": ("users.list", "user list"),
    "POST /users": ("users.create", "user create"),
    "GET /users/{user_id}": ("users.get", "user show"),
    "PATCH /users/{user_id}": ("users.change", "user set"),
    "POST /users/{user_id}/link": ("users.link", "user passwd"),
    "GET /readyz": ("ready", ""),  # for whatever watches the server
    "GET /healthz": ("", ""),
    "GET /openapi.json": ("", ""),  # for programs that have no client of ours
    "GET /docs": ("", ""),
}


def test_every_call_of_the_api_has_a_line(app):
    assert {f"{method} {path}" for path, method, *_ in api_calls(app)} == set(REACH)


@pytest.mark.parametrize(("method", "command"), sorted(set(REACH.values())))
def test_method_and_command_are_there(method, command):
    with Client("http://127.0.0.1:1") as client:
        if method:
            assert attrgetter(method)(client).__doc__ or "." in method
    found = cli.main
    for name in command.split():
        assert isinstance(found, click.Group)
        found = found.commands[name]


def test_sharing_and_estimates_have_their_own_commands(app):
    shared = {name for name, group in cli.main.commands.items() if "share" in group_of(group)}
    assert shared == {"artifact", "dataset", "model"}
    submit = cli.main.commands["job"].commands["submit"]
    assert "--dry-run" in [option for one in submit.params for option in one.opts]
    assert Client("http://127.0.0.1:1").jobs.estimate


def group_of(command):
    return getattr(command, "commands", {})


def test_the_client_knows_every_path_that_it_asks(app):
    """And none that the API has not."""
    known = {re.sub(r"{\w+}", "{}", path) for path, *_ in api_calls(app)}
    folder = Path(atelier_client.__file__).parent
    nouns = (
        "account",
        "artifacts",
        "client",
        "datasets",
        "downloads",
        "jobs",
        "models",
        "uploads",
        "webhooks",
        "workers",
    )
    text = "".join((folder / f"{noun}.py").read_text() for noun in nouns)
    asked = re.findall(r'f?"(/(?:[a-z]+|{\w+}|/|\.)+)"', text)
    paths = {re.sub(r"{\w+}", "{}", path) for path in asked} - {"/"}
    # one for several actions of a job
    assert paths - known <= {"/jobs/{}/{}"}
    assert len(paths) > 30


def test_the_scopes_are_those_of_the_server():
    assert SCOPES == requests.SCOPES


def test_the_events_are_those_of_the_server():
    assert EVENTS == webhooks.EVENTS
