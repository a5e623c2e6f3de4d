"""A webhook with some history, as rows: pages that show it need no receiver, and nothing is sent."""

from __future__ import annotations

from shared import webhooks
from shared.db import Database, clock
from shared.ids import new_id
from shared.models import OutboxMessage, Webhook

# Were it asked for all the same, it would be refused: no network of the settings holds it.
URL = "https://127.0.0.1:8443/hooks/atelier"


def add_webhook(db: Database, user_id: str, job_id: str | None = None, name: str = "Lab") -> str:
    """Its id. It heard of a job, was away when one failed, and is about to be told more."""
    with db.writing() as session:
        at = clock(session)
        hook = Webhook(
            id=new_id(),
            user_id=user_id,
            name=name,
            url=URL,
            events="job.failed job.succeeded",
            secret=webhooks.new_secret(),
            failing_since=at - 3000,
            created_at=at - 90_000,
        )
        session.add(hook)
        told = [
            {"topic": webhooks.TEST, "state": "sent", "attempts": 1, "status": 204, "sent_at": at},
            {"topic": "job.succeeded", "state": "sent", "attempts": 2, "status": 200},
            {"topic": "job.failed", "state": "failed", "attempts": 10, "error": "timeout"},
            {"state": "pending", "attempts": 3, "status": 503, "error": "status"},
        ]
        ages = (80_000, 70_000, 3000, 600)
        ids = sorted(new_id() for _ in told)  # of one millisecond they would be in any order
        for message_id, age, values in zip(ids, ages, told, strict=True):
            message = OutboxMessage(
                id=message_id,
                user_id=user_id,
                webhook_id=hook.id,
                payload={},
                created_at=at - age,
                due_at=at + 7200,
                **{"topic": "job.succeeded", **values},
            )
            message.job_id = None if message.topic == webhooks.TEST else job_id
            session.add(message)
    return hook.id
