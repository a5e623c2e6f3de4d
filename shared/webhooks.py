"""What webhooks are told: owed in the transaction of a change, leased to whoever sends, tried again by a schedule.

At least once: a sender that dies after the receiver's answer leaves a message that is sent again, under the same id
and with the same bytes. The scheme is Standard Webhooks (standardwebhooks.com).
"""

from __future__ import annotations

import json
import random
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, bindparam, select, update
from sqlalchemy.orm import Session
from standardwebhooks import Webhook as Signer

from shared import tallies
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
MOST_ATTEMPTS = len(WAITS) + 1
AT_ONCE = 4  # to one webhook
PER_USER = 8  # in flight, of all workers
# Seconds by which a message to a webhook that fails gives way to its owner's others.
FAILING_PENALTY = 60.0
GONE = 410
FAILING_SECONDS = 2 * 86_400.0  # nothing arrived for so long, and a message has run out of tries
SECRET_BYTES = 32


@dataclass(frozen=True)
class Candidate:
    """A message that may be claimed, and what decides whose turn it is."""

    message_id: str
    fence: int
    webhook_id: str
    user_id: str
    turn: float


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
    # status | redirect | refused | unresolved | timeout | tls | connection | failure
    error: str = ""

    @property
    def arrived(self) -> bool:
        return not self.error


def new_secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


WANTING = (
    select(Webhook.id, Webhook.events)
    .join(User, User.id == Webhook.user_id)
    .where(Webhook.user_id == bindparam("user_id"), Webhook.enabled, User.active)
)


def owe(session: Session, job: Job, at: float) -> None:
    """Of a job that has just ended: to each webhook of its owner that wants to know."""
    topic = f"job.{job.state}"
    for hook in session.execute(WANTING, {"user_id": job.user_id}).all():
        if topic in hook.events.split():
            session.add(_message(topic, job.user_id, hook.id, _facts(job), at, job.id))


def owe_test(session: Session, hook: Webhook) -> OutboxMessage:
    facts = {"webhook_id": hook.id, "name": hook.name}
    message = _message(TEST, hook.user_id, hook.id, facts, clock(session))
    session.add(message)
    return message


def candidates(session: Session, most: int) -> list[Candidate]:
    """Up to `most` messages that are due, one of a webhook, to be claimed; a read, for the cheap look of every second.

    Those of users with the fewest messages in flight come first, and then by how long they have been due; nobody has
    more than PER_USER in flight, so that slow receivers of one keep no other waiting. A webhook that is switched off,
    and one of a user who may not sign in, is told nothing.
    """
    by_hook, by_user = _in_flight(session)
    waiting = [row for row in _waiting(session) if by_hook[row.webhook_id] < AT_ONCE]
    chosen: list[Candidate] = []
    while waiting and len(chosen) < most:
        best = min(waiting, key=lambda row: (by_user[row.user_id], row.turn))
        if by_user[best.user_id] >= PER_USER:
            break
        by_user[best.user_id] += 1
        waiting.remove(best)
        chosen.append(best)
    return chosen


def claim(session: Session, chosen: Sequence[Candidate], lease_seconds: float) -> list[Parcel]:
    """Of these, what nobody else has claimed meanwhile.

    A message is due again when its sender should have written how it went, by the schedule at the earliest.
    """
    found = (_claim_one(session, one, lease_seconds) for one in chosen)
    return [parcel for parcel in found if parcel]


def settle(session: Session, parcel: Parcel, reply: Reply) -> None:
    """Writes how it went. Nothing, when the lease was lost: somebody else sends it, and writes that."""
    # held before its message, as whoever changes a webhook does: nobody waits in a circle
    hook = session.get(Webhook, parcel.webhook_id, with_for_update=True)
    at = clock(session)
    outcome = _outcome(parcel, reply, at)
    changed = session.execute(
        update(OutboxMessage)
        .where(
            OutboxMessage.id == parcel.id,
            OutboxMessage.fence == parcel.fence,
            OutboxMessage.state == "pending",
        )
        .values(status=reply.status, error=reply.error, lease_until=None, **outcome)
        .execution_options(synchronize_session=False)
    )
    is_ours = changed.rowcount == 1  # type: ignore[attr-defined]
    if is_ours:
        tallies.count(session, "webhook_attempts", outcome["state"])
    # what another place said is no news of this one
    if is_ours and hook and hook.url == parcel.url:
        _note(session, hook, reply, at, is_last=outcome["state"] == "failed")


def _outcome(parcel: Parcel, reply: Reply, at: float) -> dict[str, Any]:
    if reply.arrived:
        return {"state": "sent", "sent_at": at}
    if parcel.attempts >= MOST_ATTEMPTS or reply.status == GONE:
        return {"state": "failed"}
    return {"state": "pending", "due_at": at + _wait(parcel.attempts)}


def _wait(attempts: int) -> float:
    """Seconds after so many attempts."""
    return WAITS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


def _note(session: Session, hook: Webhook, reply: Reply, at: float, *, is_last: bool) -> None:
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
    message.fence += 1  # whoever sent it before may still be about to write how that went
    message.state, message.attempts, message.error = "pending", 0, ""
    message.due_at, message.status, message.sent_at = clock(session), None, None


def stop(session: Session, hook: Webhook, why: str = "") -> None:
    """Switches it off; what it has not been told yet, it never is. `why`: gone or failing, when nobody asked for it."""
    hook.enabled, hook.stopped_why = False, why
    drop_waiting(session, OutboxMessage.webhook_id == hook.id)


def start(session: Session, hook: Webhook) -> None:
    """It hears of what ends from now on: not of what was owed while it was just being switched off."""
    drop_waiting(session, OutboxMessage.webhook_id == hook.id)
    hook.enabled, hook.stopped_why, hook.failing_since = True, "", None


def drop_waiting(session: Session, which: ColumnElement[bool]) -> None:
    session.execute(
        update(OutboxMessage)
        .where(which, OutboxMessage.state == "pending")
        .values(state="failed", error="stopped", lease_until=None, fence=OutboxMessage.fence + 1)
    )


def _in_flight(session: Session) -> tuple[Counter[str], Counter[str]]:
    """How many messages are being sent, by webhook and by user."""
    rows = session.execute(
        select(OutboxMessage.webhook_id, OutboxMessage.user_id).where(
            OutboxMessage.lease_until >= NOW, OutboxMessage.state == "pending"
        )
    ).all()
    return Counter(str(row[0]) for row in rows), Counter(str(row[1]) for row in rows)


def _waiting(session: Session) -> list[Candidate]:
    """Of each webhook that may be told something the message that has been due for longest."""
    first = (
        select(OutboxMessage.id)
        .where(
            OutboxMessage.webhook_id == Webhook.id,
            OutboxMessage.state == "pending",
            OutboxMessage.due_at <= NOW,
        )
        .order_by(OutboxMessage.due_at)
        .limit(1)
        .correlate(Webhook)
        .scalar_subquery()
    )
    rows = session.execute(
        select(Webhook, OutboxMessage)
        .join(User, User.id == Webhook.user_id)
        .join(OutboxMessage, OutboxMessage.id == first)
        .where(Webhook.enabled, User.active)
    ).all()
    return [
        Candidate(
            message_id=message.id,
            fence=message.fence,
            webhook_id=hook.id,
            user_id=hook.user_id,
            turn=(message.due_at or 0.0) + (FAILING_PENALTY if hook.failing_since else 0.0),
        )
        for hook, message in rows
    ]


def _claim_one(session: Session, one: Candidate, lease_seconds: float) -> Parcel | None:
    # looked for first: on PostgreSQL an UPDATE would wait for whoever holds the row
    found = session.scalar(
        select(OutboxMessage)
        .where(
            OutboxMessage.id == one.message_id,
            OutboxMessage.fence == one.fence,
            OutboxMessage.state == "pending",
        )
        .with_for_update(skip_locked=True)
    )
    hook = session.get(Webhook, one.webhook_id, populate_existing=True) if found else None
    if found is None or hook is None or not hook.enabled:
        return None
    if found.attempts >= MOST_ATTEMPTS:  # each sender died of it, or with it
        found.state, found.error, found.fence = "failed", "interrupted", found.fence + 1
        return None
    at = clock(session)
    found.fence += 1
    found.attempts += 1
    found.lease_until = at + lease_seconds
    found.due_at = at + max(lease_seconds, _wait(min(found.attempts, len(WAITS))))
    return Parcel(
        id=found.id,
        fence=found.fence,
        attempts=found.attempts,
        webhook_id=hook.id,
        url=hook.url,
        body=body_of(found),
        secrets=_secrets(hook, at),
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
    """No params and no message of an error, which may quote one: prompts stay here until a token asks for them."""
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "family": job.family,
        "state": job.state,
        "error": {"code": job.error_code} if job.error_code else None,
        "dataset_id": job.dataset_id,
        "model_id": job.model_id,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
    }
