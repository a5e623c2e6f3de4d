"""The shapes of answers about webhooks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from web.api.shapes_schema import Count, Id, Moment


class Webhook(BaseModel):
    """An address that is told when your jobs end. Messages are signed as Standard Webhooks has it."""

    id: Id
    name: str
    url: str
    events: list[str]
    enabled: bool
    stopped_why: str | None = Field(
        description="`gone`: it answered 410; `failing`: nothing arrived for days."
    )
    failing_since: Moment | None
    old_secret_until: Moment | None = Field(description="Until then the last secret signs, too.")
    created_at: Moment


class WebhookList(BaseModel):
    items: list[Webhook]
    next: str | None


class NewWebhook(Webhook):
    """A webhook with the secret that signs, which is shown this once."""

    secret: str


class Delivery(BaseModel):
    """One message: the header webhook-id is its id, the same in every attempt."""

    id: Id
    type: str = Field(description="Like job.succeeded.")
    job_id: Id | None
    state: Literal["pending", "sent", "failed"]
    attempts: Count
    status: Count | None = Field(description="Of the last answer.")
    error: str | None = Field(description="Why the last attempt failed, in one word.")
    next_attempt_at: Moment | None
    sent_at: Moment | None
    created_at: Moment


class DeliveryList(BaseModel):
    items: list[Delivery]
    next: str | None
