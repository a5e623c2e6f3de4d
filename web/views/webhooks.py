"""Webhooks of one's own: addresses that are told when one's jobs end, and how that went."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from shared.errors import AppError, Conflict, InvalidInput, TooManyRequests
from shared.models import User
from shared.webhooks import EVENTS, TEST
from web import forms
from web.requests import check
from web.requests_webhooks import WebhookChange, WebhookRequest
from web.security import current_user, studio
from web.services import webhooks
from web.services.job_lists import Page
from web.views.numbers import when

bp = Blueprint("webhooks", __name__, url_prefix="/account/webhooks")

Errors = dict[str, str]
Shape = dict[str, Any]

ROWS = "50"
SOON = timedelta(seconds=60)  # the page looks by itself for what is due until then
EVENT_WORDS = {
    "job.succeeded": _l("job succeeded"),
    "job.failed": _l("job failed"),
    "job.cancelled": _l("job cancelled"),
    TEST: _l("test"),
}
# the class of a badge and its word: of webhooks, and of what they were told
STANDINGS = {
    "on": ("online", _l("on")),
    "off": ("offline", _l("off")),
    "failing": ("paused", _l("failing")),
    "stopped": ("failed", _l("stopped")),
}
PROGRESS = {
    "pending": ("queued", _l("on its way")),
    "again": ("paused", _l("tries again")),
    "sent": ("succeeded", _l("arrived")),
    "failed": ("failed", _l("given up")),
}
# why it was stopped by us
STOPPED = {
    "gone": _l("It answered 410, which means that it is gone for good."),
    "failing": _l("Nothing arrived for days."),
}
# what came of the last attempt, where it was no answer
ERRORS = {
    "refused": _l("Its host leads to an address that webhooks may not reach."),
    "unresolved": _l("Its host was not found."),
    "timeout": _l("It did not answer in time."),
    "tls": _l("Its certificate was not accepted, or the encryption failed."),
    "connection": _l("It could not be connected to, or hung up."),
    "stopped": _l("The webhook was switched off."),
    "interrupted": _l("Whoever sent it was interrupted each time."),
    "failure": _l("It could not be sent; the log of the server says why."),
}


@bp.get("")
def index() -> ResponseReturnValue:
    return _index()


@bp.post("")
def create() -> ResponseReturnValue:
    try:
        asked = check(WebhookRequest, _typed())
        made = webhooks.make_webhook(studio(), current_user(), asked)
    except (InvalidInput, Conflict, TooManyRequests) as error:
        return _index(errors=_said(error)), error.status
    # shown in this answer only: a redirect would have to keep the secret somewhere
    return _one(made["id"], secret=made["secret"]), 201


@bp.get("/<webhook_id>")
def show(webhook_id: str) -> ResponseReturnValue:
    return _one(webhook_id)


@bp.post("/<webhook_id>")
def change(webhook_id: str) -> ResponseReturnValue:
    try:
        asked = check(WebhookChange, _typed())
        webhooks.change_webhook(studio(), current_user(), webhook_id, asked)
    except (InvalidInput, Conflict, TooManyRequests) as error:
        return _one(webhook_id, errors=_said(error)), error.status
    flash(_("Saved."), "success")
    return redirect(url_for("pages.webhooks.show", webhook_id=webhook_id), 303)


@bp.post("/<webhook_id>/on")
def switch_on(webhook_id: str) -> ResponseReturnValue:
    return _switch(webhook_id, True, _("It is told what happens from now on."))


@bp.post("/<webhook_id>/off")
def switch_off(webhook_id: str) -> ResponseReturnValue:
    return _switch(webhook_id, False, _("It is told nothing more, also not what was on its way."))


@bp.post("/<webhook_id>/secret")
def new_secret(webhook_id: str) -> ResponseReturnValue:
    revoke = "revoke" in request.form
    try:
        made = webhooks.new_secret(studio(), current_user(), webhook_id, revoke=revoke)
    except Conflict as error:  # sent twice: the first one's answer has the secret
        flash(error.message, "warning")
        return redirect(url_for("pages.webhooks.show", webhook_id=webhook_id), 303)
    return _one(webhook_id, secret=made["secret"]), 201


@bp.post("/<webhook_id>/test")
def test(webhook_id: str) -> ResponseReturnValue:
    return _send(webhook_id, lambda user: webhooks.send_test(studio(), user, webhook_id))


@bp.post("/<webhook_id>/deliveries/<delivery_id>/again")
def again(webhook_id: str, delivery_id: str) -> ResponseReturnValue:
    return _send(
        webhook_id, lambda user: webhooks.send_again(studio(), user, webhook_id, delivery_id)
    )


@bp.post("/<webhook_id>/delete")
def delete(webhook_id: str) -> ResponseReturnValue:
    webhooks.delete_webhook(studio(), current_user(), webhook_id)
    flash(_("The webhook is deleted."), "success")
    return redirect(url_for("pages.webhooks.index"), 303)


def _typed() -> Shape:
    form = request.form
    return {
        "url": form.get("url", "").strip(),
        "name": form.get("name", ""),
        "events": form.getlist("events"),
    }


def _said(error: AppError) -> Errors:
    """By field; what is about none of them at ""."""
    if isinstance(error, InvalidInput):
        return forms.field_errors(error.errors)
    return {"": error.message}


def _switch(webhook_id: str, enabled: bool, words: str) -> ResponseReturnValue:
    asked = WebhookChange(enabled=enabled)
    webhooks.change_webhook(studio(), current_user(), webhook_id, asked)
    flash(words, "success")
    return redirect(url_for("pages.webhooks.show", webhook_id=webhook_id), 303)


def _send(webhook_id: str, send: Callable[[User], object]) -> ResponseReturnValue:
    """To the webhook's page, which shows what is on its way, or why nothing is."""
    try:
        send(current_user())
        flash(_("It is on its way."), "success")
    except (Conflict, TooManyRequests) as error:
        flash(error.message, "warning")
    return redirect(url_for("pages.webhooks.show", webhook_id=webhook_id), 303)


def _index(errors: Errors | None = None) -> str:
    return render_template(
        "webhooks/index.html",
        hooks=[_drawn(one) for one in webhooks.list_webhooks(studio(), current_user())],
        events=[(event, EVENT_WORDS[event]) for event in EVENTS],
        errors=errors or {},
        typed=request.form if errors else {},
    )


def _one(webhook_id: str, errors: Errors | None = None, secret: str = "") -> str:
    user = current_user()
    hook = webhooks.get_webhook(studio(), user, webhook_id)
    page = check(Page, {"limit": ROWS, "after": request.args.get("after") or None})
    found = webhooks.list_deliveries(studio(), user, webhook_id, page)
    deliveries = [_told(one) for one in found["items"]]
    return render_template(
        "webhooks/show.html",
        hook=_drawn(hook),
        deliveries=deliveries,
        # the answer that shows a secret has no address of its own to be paged or renewed from
        next=found["next"] if not secret else None,
        follow=not secret and any(one["soon"] for one in deliveries),
        events=[(event, EVENT_WORDS[event]) for event in EVENTS],
        errors=errors or {},
        typed=request.form if errors else {},
        secret=secret,
    )


def _drawn(hook: Shape) -> Shape:
    """With what a page says of it."""
    old = when(hook["old_secret_until"])
    return {
        **hook,
        "host": urlsplit(hook["url"]).netloc,
        "event_words": [EVENT_WORDS[event] for event in EVENTS if event in hook["events"]],
        "badge": STANDINGS[_standing(hook)],
        "why": STOPPED.get(hook["stopped_why"], ""),
        "old_secret_signs": bool(old and old > datetime.now(UTC)),
    }


def _standing(hook: Shape) -> str:
    if not hook["enabled"]:
        return "stopped" if hook["stopped_why"] else "off"
    return "failing" if hook["failing_since"] else "on"


def _told(delivery: Shape) -> Shape:
    """A delivery with what the page says of it."""
    now, due = datetime.now(UTC), when(delivery["next_attempt_at"])
    tried = delivery["state"] == "pending" and delivery["error"]
    return {
        **delivery,
        "event": EVENT_WORDS.get(delivery["type"], delivery["type"]),
        "badge": PROGRESS["again" if tried else delivery["state"]],
        "answer": _answer(delivery),
        "later": bool(due and due > now),
        "soon": bool(due and due < now + SOON),
    }


def _answer(delivery: Shape) -> str:
    status, error = delivery["status"], delivery["error"]
    if error == "redirect":
        words = _("It answered %(status)s, which leads elsewhere: nobody follows.", status=status)
        return str(words)
    if error in ERRORS:
        return str(ERRORS[error])
    return str(_("It answered %(status)s.", status=status)) if status else ""
