"""Webhooks: addresses of one's own programs that are told when jobs end."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from itertools import islice
from typing import Any

from atelier_client.connection import Connection, Object
from atelier_client.records import Record

EVENTS = ("job.succeeded", "job.failed", "job.cancelled")


class Webhook(Record):
    """`secret` is there only in the answer that made it: whoever receives checks signatures with it."""

    id: str
    name: str
    url: str
    events: list[str]
    enabled: bool
    stopped_why: str | None
    failing_since: str | None
    old_secret_until: str | None
    created_at: str
    secret: str


class Delivery(Record):
    """A message: pending, sent or failed. Its id is the header webhook-id of every attempt."""

    id: str
    type: str
    job_id: str | None
    state: str
    attempts: int
    status: int | None
    error: str | None
    next_attempt_at: str | None
    sent_at: str | None
    created_at: str


class Webhooks:
    """Needs a token without scopes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Webhook]:
        return [Webhook(item) for item in self._connection.get("/webhooks")["items"]]

    def get(self, webhook_id: str) -> Webhook:
        return Webhook(self._connection.get(f"/webhooks/{webhook_id}"))

    def create(self, url: str, *, events: Sequence[str] = EVENTS, name: str = "") -> Webhook:
        """https, or http into a network that the server's settings open. The secret is shown this once."""
        body = {"url": url, "events": [*events], "name": name}
        return Webhook(self._post("/webhooks", json=body))

    def change(self, webhook_id: str, **fields: Any) -> Webhook:
        """`url`, `events`, `name`, `enabled`."""
        answer = self._connection.ask("PATCH", f"/webhooks/{webhook_id}", json=fields)
        return Webhook(answer.json())

    def new_secret(self, webhook_id: str, *, revoke: bool = False) -> Webhook:
        """The secret before it signs as well for 24 hours; revoked, no more from now on."""
        return Webhook(self._post(f"/webhooks/{webhook_id}/secret", json={"revoke": revoke}))

    def test(self, webhook_id: str) -> Delivery:
        """Sends a message of the type webhook.test."""
        return Delivery(self._post(f"/webhooks/{webhook_id}/test"))

    def deliveries(self, webhook_id: str, *, limit: int | None = None) -> builtins.list[Delivery]:
        """What it was told and is to be told, newest first."""
        size = min(limit or 200, 200)
        found = self._connection.pages(f"/webhooks/{webhook_id}/deliveries", limit=size)
        return [Delivery(item) for item in islice(found, limit)]

    def send_again(self, webhook_id: str, delivery_id: str) -> Delivery:
        path = f"/webhooks/{webhook_id}/deliveries/{delivery_id}/again"
        return Delivery(self._post(path))

    def delete(self, webhook_id: str) -> None:
        self._connection.delete(f"/webhooks/{webhook_id}")

    def _post(self, path: str, **body: Any) -> Object:
        # not repeated: a second one would make a second secret, or a second message
        return self._connection.ask("POST", path, repeat=False, **body).json()  # type: ignore[no-any-return]
