"""/webhooks: addresses of your own programs that are told when your jobs end."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import Conflict, TooManyRequests
from web.api import shapes_webhooks as shapes
from web.api.answers import answer, body, no_body, nothing, part_of, query
from web.api.describe import NOTHING, Answer, told
from web.queries import Part
from web.requests_webhooks import SecretRequest, WebhookChange, WebhookRequest
from web.security import current_user, studio
from web.services import webhooks
from web.services.job_lists import Page

bp = Blueprint("webhooks", __name__, url_prefix="/webhooks")


@bp.get("")
@told("Your webhooks", shapes.WebhookList, query=Part)
def index() -> Response:
    return part_of(webhooks.list_webhooks(studio(), current_user()), query(Part))


@bp.post("")
@told(
    "Make a webhook",
    {201: Answer("The webhook; its secret is shown this once.", shapes.NewWebhook)},
    body=WebhookRequest,
    errors=(Conflict, TooManyRequests),
)
def create() -> Response:
    """The URL must be https and lead to the public internet, or into a network of ATELIER_WEBHOOK_NETWORKS."""
    return answer(webhooks.make_webhook(studio(), current_user(), body(WebhookRequest)), 201)


@bp.get("/<webhook_id>")
@told("A webhook", shapes.Webhook)
def show(webhook_id: str) -> Response:
    return answer(webhooks.get_webhook(studio(), current_user(), webhook_id))


@bp.patch("/<webhook_id>")
@told(
    "Change a webhook, or switch it off and on",
    shapes.Webhook,
    body=WebhookChange,
    errors=(TooManyRequests,),
)
def change(webhook_id: str) -> Response:
    asked = body(WebhookChange)
    return answer(webhooks.change_webhook(studio(), current_user(), webhook_id, asked))


@bp.delete("/<webhook_id>")
@told("Delete a webhook", NOTHING)
def delete(webhook_id: str) -> Response:
    webhooks.delete_webhook(studio(), current_user(), webhook_id)
    return nothing()


@bp.post("/<webhook_id>/secret")
@told(
    "Make a new secret",
    {201: Answer("With the secret.", shapes.NewWebhook)},
    body=SecretRequest,
    errors=(Conflict,),
)
def new_secret(webhook_id: str) -> Response:
    """The secret before it signs as well for 24 hours, so that nothing is refused meanwhile; revoked, no more."""
    asked = body(SecretRequest)
    user = current_user()
    return answer(webhooks.new_secret(studio(), user, webhook_id, revoke=asked.revoke), 201)


@bp.post("/<webhook_id>/test")
@told(
    "Send a test",
    {202: Answer("It is on its way.", shapes.Delivery)},
    errors=(Conflict, TooManyRequests),
)
def test(webhook_id: str) -> Response:
    no_body()
    return answer(webhooks.send_test(studio(), current_user(), webhook_id), 202)


@bp.get("/<webhook_id>/deliveries")
@told("What it was told", shapes.DeliveryList, query=Page)
def deliveries(webhook_id: str) -> Response:
    return answer(webhooks.list_deliveries(studio(), current_user(), webhook_id, query(Page)))


@bp.post("/<webhook_id>/deliveries/<delivery_id>/again")
@told(
    "Send a message again",
    {202: Answer("On its way.", shapes.Delivery)},
    errors=(Conflict, TooManyRequests),
)
def again(webhook_id: str, delivery_id: str) -> Response:
    no_body()
    user = current_user()
    return answer(webhooks.send_again(studio(), user, webhook_id, delivery_id), 202)
