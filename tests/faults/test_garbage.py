"""Faults 38 and 39: rubbish in the queue ends a worker for a moment at most; a worker that cannot consume notices."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pytest
import redis

from shared.config import read_settings
from shared.queue import Wakeups, celery_app, wake_queue
from tests.installation import ROOT, Installation
from tests.servers import wait_until
from worker.app import EXIT_STUCK

MEGABYTES = 50


class Trap:
    """What unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def message(body: bytes, content_type="application/json", task="worker.wake") -> bytes:
    """As kombu writes it into a list."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {"id": "1", "task": task, "lang": "py", "argsrepr": "", "kwargsrepr": ""},
            "properties": {
                "correlation_id": "1",
                "delivery_mode": 2,
                "delivery_tag": "1",
                "body_encoding": "base64",
                "priority": 0,
                "delivery_info": {"exchange": "", "routing_key": "wake.interactive"},
            },
        }
    ).encode()


def rubbish(trap: Path) -> dict[str, bytes]:
    return {
        "text": b"not json at all",
        "an object": b"{}",
        "a list": b"[]",
        "half": message(b"[]")[:-40],
        "a body that is none": message(b"\xff\xfe"),
        "a pickle": message(pickle.dumps(Trap(trap)), "application/x-python-serialize"),
        "an unknown task": message(b"[[], {}, {}]", task="worker.nothing"),
        "wrong arguments": message(b'[[1, 2, 3], {"x": 1}, {}]'),
        "much": b"x" * (MEGABYTES << 20),
        "much of a task": message(json.dumps([["y" * (MEGABYTES << 20)], {}, {}]).encode()),
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_kind_of_rubbish_leaves_the_workers_working(tmp_path):
    trap = tmp_path / "trap"
    settings = {"families": "sleep_steps", "poll_seconds": "0.2", "threads": "1"}
    with Installation(family_path=str(ROOT / "tests" / "families"), **settings) as atelier:
        client = atelier.user()
        atelier.families(client, "sleep_steps")
        dataset = client.datasets.wait(client.datasets.add(sample="python-docs")["id"])
        here = read_settings(
            {key: value for key, value in atelier.environment.items() if key.startswith("ATELIER_")}
        )
        queues = [here.redis_prefix + name for name in (wake_queue("interactive"), "tasks.cpu")]
        with redis.Redis.from_url(here.redis) as broker:
            for name, item in rubbish(trap).items():
                for queue in queues:
                    broker.lpush(queue, item)
                wait_until(
                    lambda: not any(map(broker.llen, queues)), 120, f"{name} to be taken away"
                )
                job = client.jobs.submit(
                    "train", {"steps": 2}, family="sleep_steps", dataset_id=dataset["id"]
                )
                assert client.jobs.wait(job["id"], timeout=120)["state"] == "succeeded", name
            # and the queues themselves are still served
            celery_app(here).send_task("worker.wake", ["interactive"], queue="wake.interactive")
            celery_app(here).send_task("worker.run_due", [], queue="tasks.cpu")
            wait_until(lambda: not any(map(broker.llen, queues)), 120, "the workers to be back")
    assert not trap.exists()


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_consumes_nothing_notices_drains_and_ends(own_bench, own_valkey):
    job = own_bench.train(steps=10_000, step_seconds=0.05)
    worker = own_bench.worker()
    own_bench.wait_step(job, 3)
    worker.wait_log("ready.", 60)
    with own_valkey.client() as client:
        # it may look at the queue and take nothing out
        client.execute_command("ACL", "SETUSER", "default", "-brpop", "-rpop")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wakeups = Wakeups(own_bench.settings)
        wakeups.wake("interactive")
        wait_until(lambda: client.llen(own_bench.settings.redis_prefix + wake_queue("interactive")))
    worker.look()
    assert worker.wait(180) == EXIT_STUCK
    wakeups.close()
    worker.assert_nothing_left()
    found = own_bench.job(job)
    assert (found.state, found.strikes, found.losses) == ("queued", 0, 0)
    assert found.checkpoint_step >= 3
    own_bench.cancel(job)
