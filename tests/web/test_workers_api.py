"""/workers: drained before an upgrade over the API, the client and the command line, as on the page."""

from __future__ import annotations

import json
import threading

import pytest

from atelier_client import Client, ClientError, NotAllowed
from shared.models import Worker
from tests.servers import wait_until
from tests.web.test_cli_more import run_as, server
from tests.web.test_queue import FACTS, add_worker

__all__ = ["run_as", "server"]
WORKER = "device-0.gpu-1"


@pytest.fixture
def root(person):
    return person("root", admin=True)


@pytest.fixture
def run(run_as, root):
    return run_as(root)


def draining(studio):
    with studio.db.reading() as session:
        return session.get_one(Worker, WORKER).drain_requested_at is not None


def test_a_worker_is_drained_and_works_again(root, studio):
    add_worker(studio, WORKER, facts=FACTS)
    (found,) = root.get("/workers").json["items"]
    assert (found["id"], found["drain_requested"]) == (WORKER, False)
    answer = root.patch(f"/workers/{WORKER}", json={"draining": True})
    assert (answer.status_code, answer.json["drain_requested"]) == (200, True)
    assert draining(studio)
    assert root.patch(f"/workers/{WORKER}", json={"draining": False}).status_code == 200
    assert not draining(studio)
    assert root.patch("/workers/nobody", json={"draining": True}).status_code == 404
    for body in ({}, {"draining": None}, {"draining": "yes"}, {"drain": True}):
        assert root.patch(f"/workers/{WORKER}", json=body).status_code == 422


def test_everybodys_jobs_are_whose_and_not_about_what(root, alice, work):
    job = work.training(alice, name="canary")
    found = root.get("/workers/jobs").json
    assert found["items"][0]["owner"] == "alice"
    assert "canary" not in json.dumps(found)
    assert root.post(f"/workers/jobs/{job['id']}/cancel").status_code == 204
    assert alice.get(f"/jobs/{job['id']}").json["state"] == "cancelled"
    assert root.post(f"/workers/jobs/{job['id']}/cancel").status_code == 204
    assert root.post("/workers/jobs/nothing/cancel").status_code == 404


def test_the_commands(run, studio, alice, work):
    add_worker(studio, WORKER, facts=FACTS)
    job_id = work.training(alice)["id"]
    assert WORKER in run("worker", "list").stdout
    assert run("worker", "drain", WORKER).exit_code == 0
    assert draining(studio)
    assert run("worker", "drain", WORKER, "--off").exit_code == 0
    assert not draining(studio)
    assert "alice" in run("worker", "jobs").stdout
    assert run("worker", "cancel-job", job_id).exit_code == 0
    assert alice.get(f"/jobs/{job_id}").json["state"] == "cancelled"


def test_a_drain_can_be_waited_for(server, root, studio, alice, work):
    """Until the worker has given its jobs back: then its machine may be restarted."""
    add_worker(studio, WORKER, facts=FACTS)
    work.training(alice)
    (row,) = work.claim(WORKER)
    with Client(server.url, root.token) as client:
        client.workers.drain(WORKER)
        with pytest.raises(ClientError, match="still runs"):
            client.workers.wait_idle(WORKER, timeout=0.1)
        waiting = threading.Thread(target=client.workers.wait_idle, args=(WORKER,))
        waiting.start()
        work.succeed(row, model=True)
        wait_until(lambda: not waiting.is_alive())


def test_others_are_refused(server, alice):
    with Client(server.url, alice.token) as client, pytest.raises(NotAllowed):
        client.workers.list()
