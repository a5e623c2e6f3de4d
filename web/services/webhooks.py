"""Webhooks: what a user's own programs are told when his jobs end, and how that went."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from shared import webhook_targets, webhooks
from shared.db import clock
from shared.errors import Conflict, InvalidInput, NotFound
from shared.ids import new_id
from shared.models import OutboxMessage, User, Webhook
from shared.moments import rfc3339
from web.requests_webhooks import WebhookChange, WebhookRequest
from web.services import audit
from web.services.job_lists import Page
from web.services.studio import Studio

MOST = 20  # of one user
OLD_SECRET_SECONDS = 86_400.0

log = logging.getLogger(__name__)

Shape = dict[str, Any]


def list_webhooks(studio: Studio, user: User) -> list[Shape]:
    """The newest first."""
    with studio.db.reading() as session:
        rows = session.scalars(
            select(Webhook).where(Webhook.user_id == user.id).order_by(Webhook.id.desc())
        )
        return [_shown(row) for row in rows]


def get_webhook(studio: Studio, user: User, webhook_id: str) -> Shape:
    with studio.db.reading() as session:
        return _shown(_own(session, user, webhook_id))


def make_webhook(studio: Studio, user: User, asked: WebhookRequest) -> Shape:
    """As the API shows it, with the `secret` that signs: it cannot be read again.

    Raises InvalidInput for a URL that webhooks may not reach, Conflict when there are too many.
    """
    place = _check(studio, user, asked.url)
    secret = webhooks.new_secret()
    with studio.db.writing() as session:
        # held, so that many at once are counted one after another
        session.execute(select(User.id).where(User.id == user.id).with_for_update(key_share=True))
        count = session.scalar(select(func.count()).where(Webhook.user_id == user.id)) or 0
        if count >= MOST:
            raise Conflict(f"You have {MOST} webhooks; delete one first.")
        row = Webhook(
            id=new_id(),
            user_id=user.id,
            name=asked.name or place.host,
            url=asked.url,
            events=" ".join(sorted(asked.events)),
            secret=secret,
            created_at=clock(session),
        )
        session.add(row)
        session.flush()
        audit.record(session, "webhook_made", user, row, to=place.shown)
        return {**_shown(row), "secret": secret}


def change_webhook(studio: Studio, user: User, webhook_id: str, asked: WebhookChange) -> Shape:
    """Switched on again, it is told what happens from then on. Raises InvalidInput, NotFound."""
    before = get_webhook(studio, user, webhook_id)
    # not the one it has: that may have become unknown, or closed, and is no reason not to rename it
    url = asked.url if asked.url != before["url"] else None
    place = _check(studio, user, url) if url else None
    with studio.db.writing() as session:
        row = _own(session, user, webhook_id, hold=True)
        old = {"url": row.url, "name": row.name, "events": row.events}
        row.name = asked.name or row.name
        row.events = " ".join(sorted(asked.events)) if asked.events else row.events
        if url and place:
            row.url, row.failing_since, row.stopped_why = url, None, ""
        if changed := [name for name, value in old.items() if getattr(row, name) != value]:
            to = {"to": place.shown} if place else {}
            audit.record(session, "webhook_changed", user, row, changed=", ".join(changed), **to)
        if asked.enabled is not None and asked.enabled != row.enabled:
            (webhooks.start if asked.enabled else webhooks.stop)(session, row)
            action = "webhook_switched_on" if asked.enabled else "webhook_switched_off"
            audit.record(session, action, user, row)
        session.flush()
        return _shown(row)


def new_secret(studio: Studio, user: User, webhook_id: str, *, revoke: bool = False) -> Shape:
    """A new secret; the one before signs too, for a day more, unless it is revoked.

    Raises NotFound, and Conflict while one before still signs: made twice by mistake, the one in use would be gone.
    """
    with studio.db.writing() as session:
        row = _own(session, user, webhook_id, hold=True)
        at = clock(session)
        if not revoke and (row.old_secret_until or 0.0) > at:
            raise Conflict("The secret before this one still signs; revoke both to make another.")
        row.old_secret = "" if revoke else row.secret
        row.old_secret_until = None if revoke else at + OLD_SECRET_SECONDS
        row.secret = webhooks.new_secret()
        audit.record(session, "webhook_secret_made", user, row, revoked=revoke)
        return {**_shown(row), "secret": row.secret}


def delete_webhook(studio: Studio, user: User, webhook_id: str) -> None:
    """With what it was told and was to be told. Raises NotFound."""
    with studio.db.writing() as session:
        row = _own(session, user, webhook_id, hold=True)
        audit.record(session, "webhook_deleted", user, row)
        session.execute(delete(OutboxMessage).where(OutboxMessage.webhook_id == row.id))
        session.delete(row)


def send_test(studio: Studio, user: User, webhook_id: str) -> Shape:
    """Owes it a message that says nothing. Raises Conflict when it is off, TooManyRequests, NotFound."""
    studio.throttle.webhook(user.id)
    with studio.db.writing() as session:
        row = _own(session, user, webhook_id, hold=True)
        if not row.enabled:
            raise Conflict("This webhook is switched off.")
        message = webhooks.owe_test(session, row)
        session.flush()
        return _delivery(message)


def list_deliveries(studio: Studio, user: User, webhook_id: str, page: Page) -> Shape:
    """What it was told or is to be told, the newest first; kept for ATELIER_KEEP_MESSAGES_SECONDS."""
    with studio.db.reading() as session:
        row = _own(session, user, webhook_id)
        query = select(OutboxMessage).where(OutboxMessage.webhook_id == row.id)
        if page.after:
            query = query.where(OutboxMessage.id < page.after)
        found = session.scalars(query.order_by(OutboxMessage.id.desc()).limit(page.size + 1)).all()
    items = [_delivery(message) for message in found[: page.size]]
    return {"items": items, "next": items[-1]["id"] if len(found) > page.size else None}


def send_again(studio: Studio, user: User, webhook_id: str, message_id: str) -> Shape:
    """The same message once more, from the first attempt on. Raises Conflict while it is still being tried."""
    studio.throttle.webhook(user.id)
    with studio.db.writing() as session:
        row = _own(session, user, webhook_id, hold=True)
        message = session.scalar(
            select(OutboxMessage)
            .where(OutboxMessage.id == message_id, OutboxMessage.webhook_id == row.id)
            .with_for_update()
        )
        if message is None:
            raise NotFound()
        if not row.enabled:
            raise Conflict("This webhook is switched off.")
        webhooks.again(session, message)
        session.flush()
        return _delivery(message)


def _own(session: Session, user: User, webhook_id: str, *, hold: bool = False) -> Webhook:
    """Whoever changes it holds it before its messages, as the worker does: nobody waits in a circle."""
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.user_id == user.id)
    row = session.scalar(query.with_for_update() if hold else query)
    if row is None:
        raise NotFound()
    return row


def _check(studio: Studio, user: User, url: str) -> webhook_targets.Target:
    """Looks the name up, which may take its time: a user may not do it without end."""
    studio.throttle.webhook(user.id)
    target = webhook_targets.parse(url)
    try:
        webhook_targets.addresses(
            target, webhook_targets.networks_of(studio.settings.webhook_networks)
        )
    except OSError as error:
        log.info("the host of a webhook was not found: %s", error)
        message = "names a host that is not known here"
        raise InvalidInput(errors=[{"pointer": "/url", "message": message}]) from error
    return target


def _shown(row: Webhook) -> Shape:
    return {
        "id": row.id,
        "name": row.name,
        "url": row.url,
        "events": row.events.split(),
        "enabled": row.enabled,
        "stopped_why": row.stopped_why or None,
        "failing_since": rfc3339(row.failing_since),
        "old_secret_until": rfc3339(row.old_secret_until),
        "created_at": rfc3339(row.created_at),
    }


def _delivery(message: OutboxMessage) -> Shape:
    """Never what the receiver answered: it may be a server that its owner cannot reach himself."""
    waits = message.state == "pending"
    return {
        "id": message.id,
        "type": message.topic,
        "job_id": message.job_id,
        "state": message.state,
        "attempts": message.attempts,
        "status": message.status,
        "error": message.error or None,
        "next_attempt_at": rfc3339(message.due_at) if waits else None,
        "sent_at": rfc3339(message.sent_at),
        "created_at": rfc3339(message.created_at),
    }
