"""The bodies of the API about webhooks."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from shared.webhook_targets import LONGEST_URL
from shared.webhooks import EVENTS, Event
from web.requests import GivenName, Name, Strict, no_twins, one_line

Url = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_URL, json_schema_extra={"pattern": "^https?://[!-~]+$"}),
    AfterValidator(one_line),
]
Events = Annotated[
    list[Event],
    Field(min_length=1, max_length=len(EVENTS), json_schema_extra={"uniqueItems": True}),
    AfterValidator(no_twins),
]


class WebhookRequest(Strict):
    """The body of POST /webhooks."""

    url: Url
    events: Events = Field(default_factory=lambda: list(EVENTS))
    name: Name = ""


class SecretRequest(Strict):
    """The body of POST /webhooks/ID/secret."""

    may_be_absent = True

    revoke: bool = False


class WebhookChange(Strict):
    """The body of PATCH /webhooks/ID."""

    url: Url | None = None
    events: Events | None = None
    name: GivenName | None = None
    enabled: bool | None = None
