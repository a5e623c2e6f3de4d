"""Fault 59: the sender dies after the receiver's answer. Told again under the same id; the job's end is not touched."""

from __future__ import annotations

import pytest

from shared import webhooks
from shared.ids import new_id
from shared.models import OutboxMessage, Webhook
from tests.receiver import LOOPBACK, Receiver
from tests.servers import wait_until
from tests.work import is_alive


@pytest.fixture
def overrides():
    return {"webhook_networks": LOOPBACK}


def test_a_sender_that_dies_after_the_answer_tells_it_again(bench, db):
    secret = webhooks.new_secret()
    with Receiver() as receiver:
        row = {"user_id": bench.user_id, "name": "mine", "url": receiver.url, "secret": secret}
        row |= {"events": "job.succeeded", "created_at": 1.0}
        with db.writing() as session:
            session.add(Webhook(id=new_id(), **row))
        bench.worker()
        sender = bench.worker("cpu-0", kind="cpu", failpoint="webhook_answered:kill9:1")
        job_id = bench.generate(steps=1)
        job = bench.wait(job_id, "succeeded")
        first, second = receiver.wait(2)
        message = wait_until(lambda: _sent(db, first.id), what="the message is settled")
        assert (second.id, second.body) == (first.id, first.body)
        assert second.opened(secret)["data"]["id"] == job_id
        assert message.attempts == 2
        after = bench.job(job_id)
        assert (after.state, after.version, after.fence) == (job.state, job.version, job.fence)
        assert is_alive(sender.main)  # only its child died, and was replaced


def _sent(db, message_id):
    with db.reading() as session:
        row = session.get(OutboxMessage, message_id)
        return row if row.state == "sent" else None
