"""What webhooks are told: owed in the transaction of a change, leased to whoever sends, tried again by a schedule.

At least once: a sender that dies after the receiver's answer leaves a message that is sent again, under the same id
and with the same bytes. The scheme is Standard Webhooks (standardwebhooks.com).
"""

from __future__ import annotations

import json
import random
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session
from standardwebhooks import Webhook as Signer

from shared.db import NOW, clock
from shared.errors import Conflict
from shared.ids import new_id
from shared.models import Job, OutboxMessage, User, Webhook
from shared.moments import rfc3339

Event = Literal["job.succeeded", "job.failed", "job.cancelled"]
EVENTS: tuple[Event, ...] = get_args(Event)
TEST = "webhook.test"
# Seconds after each attempt that failed: three days in all, as the specification proposes.
WAITS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.2
AT_ONCE = 4  # to one webhook
GONE = 410
FAILING_SECONDS = 2 * 86_400.0  # nothing arrived for so long, and a message has run out of tries
SECRET_BYTES = 32


@dataclass(frozen=True)
class Parcel:
    """A message that is leased to the caller, and what is needed to send it."""

    id: str
    fence: int
    attempts: int
    webhook_id: str
    url: str
    body: str
    secrets: tuple[str, ...]

    def headers(self, at: float) -> dict[str, str]:
        """Signed for this second by each secret that holds: the receiver may know either."""
        moment = datetime.fromtimestamp(int(at), tz=UTC)
        signed = (Signer(secret).sign(self.id, moment, self.body) for secret in self.secrets)
        return {
            "Content-Type": "application/json",
            "User-Agent": "Atelier-Webhooks/1",
            "Webhook-Id": self.id,
            "Webhook-Timestamp": str(int(at)),
            "Webhook-Signature": " ".join(signed),
        }


@dataclass(frozen=True)
class Reply:
    """How an attempt went: the receiver's status, or a word for why there is none."""

    status: int | None = None
    error: str = ""  # status | redirect | refused | unresolved | timeout | tls | connection

    @property
    def arrived(self) -> bool:
        return not self.error


def new_secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def owe(session: Session, job: Job, at: float) -> None:
    """Of a job that has just ended: to each webhook of its owner that wants to know."""
    topic = f"job.{job.state}"
    wanting = session.execute(
        select(Webhook.id, Webhook.events)
        .join(User, User.id == Webhook.user_id)
        .where(Webhook.user_id == job.user_id, Webhook.enabled, User.active)
    ).all()
    for hook in wanting:
        if topic in hook.events.split():
            session.add(_message(topic, job.user_id, hook.id, _facts(job), at, job.id))


def owe_test(session: Session, hook: Webhook) -> OutboxMessage:
    facts = {"webhook_id": hook.id, "name": hook.name}
    message = _message(TEST, hook.user_id, hook.id, facts, clock(session))
    session.add(message)
    return message


def is_due(session: Session) -> bool:
    """Whether there is something to claim; the cheap question of every second."""
    return bool(session.scalar(select(_open_to_messages().exists())))


def claim(session: Session, most: int, lease_seconds: float) -> list[Parcel]:
    """Up to `most` messages, one to a webhook, those first to whom things arrive.

    A webhook that is switched off, and one of a user who may not sign in, is told nothing.
    """
    busy = (
        select(OutboxMessage.webhook_id)
        .where(OutboxMessage.state == "pending", OutboxMessage.lease_until >= NOW)
        .group_by(OutboxMessage.webhook_id)
        .having(func.count() >= AT_ONCE)
    )
    oldest = func.min(OutboxMessage.due_at)
    hooks = session.scalars(
        _open_to_messages()
        .where(Webhook.id.not_in(busy))
        .group_by(Webhook.id)
        .order_by(Webhook.failing_since.is_not(None), oldest)
        .limit(most)
    ).all()
    found = (_claim_one(session, hook, lease_seconds) for hook in hooks)
    return [parcel for parcel in found if parcel]


def settle(session: Session, parcel: Parcel, reply: Reply) -> None:
    """Writes how it went. Nothing, when the lease was lost: somebody else sends it, and writes that."""
    at = clock(session)
    values: dict[str, Any] = {"status": reply.status, "error": reply.error, "lease_until": None}
    is_last = parcel.attempts > len(WAITS) or reply.status == GONE
    if reply.arrived:
        values |= {"state": "sent", "sent_at": at}
    elif is_last:
        values |= {"state": "failed"}
    else:
        wait = WAITS[parcel.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        values |= {"due_at": at + wait}
    # before its message, as whoever changes a webhook does: nobody waits in a circle
    hook = session.get(Webhook, parcel.webhook_id, with_for_update=True)
    if hook is None:
        return
    message = session.scalars(
        update(OutboxMessage)
        .where(
            OutboxMessage.id == parcel.id,
            OutboxMessage.fence == parcel.fence,
            OutboxMessage.state == "pending",
        )
        .values(**values)
        .returning(OutboxMessage)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if message is None:
        return
    if reply.arrived:
        hook.failing_since = None
        return
    hook.failing_since = hook.failing_since or at
    if reply.status == GONE:
        stop(session, hook, "gone")
    elif is_last and hook.failing_since < at - FAILING_SECONDS:
        stop(session, hook, "failing")


def again(session: Session, message: OutboxMessage) -> None:
    """From the first attempt on. Raises Conflict while it is still being tried."""
    if message.state == "pending":
        raise Conflict("This message is still being sent.")
    message.state, message.attempts, message.error = "pending", 0, ""
    message.due_at, message.status, message.sent_at = clock(session), None, None


def stop(session: Session, hook: Webhook, why: str = "") -> None:
    """Switches it off; what it has not been told yet, it never is. `why`: gone or failing, when nobody asked for it."""
    hook.enabled, hook.stopped_why = False, why
    session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.webhook_id == hook.id, OutboxMessage.state == "pending")
        .values(state="failed", error="stopped", lease_until=None, fence=OutboxMessage.fence + 1)
    )


def _open_to_messages() -> Select[Webhook]:
    """The webhooks with something due that may be told it."""
    return (
        select(Webhook)
        .join(OutboxMessage, OutboxMessage.webhook_id == Webhook.id)
        .join(User, User.id == Webhook.user_id)
        .where(_due(), Webhook.enabled, User.active)
    )


def _claim_one(session: Session, hook: Webhook, lease_seconds: float) -> Parcel | None:
    candidate = session.execute(
        select(OutboxMessage.id, OutboxMessage.fence)
        .where(OutboxMessage.webhook_id == hook.id, _due())
        .order_by(OutboxMessage.due_at, OutboxMessage.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if candidate is None:
        return None
    message = session.scalars(
        update(OutboxMessage)
        .where(OutboxMessage.id == candidate.id, OutboxMessage.fence == candidate.fence, _due())
        .values(
            fence=OutboxMessage.fence + 1,
            attempts=OutboxMessage.attempts + 1,
            lease_until=NOW + lease_seconds,
        )
        .returning(OutboxMessage)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if message is None:
        return None
    return Parcel(
        id=message.id,
        fence=message.fence,
        attempts=message.attempts,
        webhook_id=hook.id,
        url=hook.url,
        body=body_of(message),
        secrets=_secrets(hook, clock(session)),
    )


def body_of(message: OutboxMessage) -> str:
    """The same bytes each time, whatever order the database keeps the payload in."""
    said = {
        "type": message.topic,
        "timestamp": rfc3339(message.created_at),
        "data": message.payload,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def _secrets(hook: Webhook, at: float) -> tuple[str, ...]:
    if hook.old_secret and (hook.old_secret_until or 0.0) > at:
        return hook.secret, hook.old_secret
    return (hook.secret,)


def _due() -> ColumnElement[bool]:
    free = or_(OutboxMessage.lease_until.is_(None), OutboxMessage.lease_until < NOW)
    return (OutboxMessage.state == "pending") & (OutboxMessage.due_at <= NOW) & free


def _message(
    topic: str, user_id: str, hook_id: str, payload: dict[str, Any], at: float, job_id: str = ""
) -> OutboxMessage:
    return OutboxMessage(
        id=new_id(),
        topic=topic,
        user_id=user_id,
        webhook_id=hook_id,
        job_id=job_id or None,
        payload=payload,
        created_at=at,
        due_at=at,
    )


def _facts(job: Job) -> dict[str, Any]:
    """No params: prompts stay here until somebody asks for them with a token."""
    error = {"code": job.error_code, "message": job.error_message} if job.error_code else None
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "family": job.family,
        "state": job.state,
        "error": error,
        "dataset_id": job.dataset_id,
        "model_id": job.model_id,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
    }
