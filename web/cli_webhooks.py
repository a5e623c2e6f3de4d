"""`atelier webhook`: addresses of one's own programs that are told when jobs end, over HTTP."""

from __future__ import annotations

import click

from atelier_client import Client, Delivery, Webhook
from atelier_client.webhooks import EVENTS
from web import cli_options
from web.cli_frame import Commands, api_command
from web.cli_nouns import add_delete, add_rename, add_show
from web.cli_output import echo_field, table

events = click.option(
    "--event", "events", multiple=True, type=click.Choice(EVENTS), help="Told when; all by default."
)


@click.group(cls=Commands)
def webhook() -> None:
    """Addresses that are told when your jobs end. These commands need a token without scopes."""


@api_command(
    webhook,
    "list",
    "atelier webhook list",
    show=table("id", "name", "url", "events", "enabled", "failing_since"),
)
def list_webhooks(api: Client) -> list[Webhook]:
    """List your webhooks."""
    return api.webhooks.list()


add_show(webhook, "webhook", "Show a webhook.")


@api_command(
    webhook,
    "create",
    "atelier webhook create https://example.com/atelier",
    "atelier webhook create https://example.com/alarm --event job.failed --name alarm",
    show=echo_field("secret"),
)
@click.argument("url")
@events
@click.option("--name", default="", help="What it is for; the host's name if not given.")
def create_webhook(api: Client, url: str, events: tuple[str, ...], name: str) -> Webhook:
    """Print the secret that signs what is sent to URL. It cannot be read again."""
    return api.webhooks.create(url, events=events or EVENTS, name=name)


add_rename(webhook, "webhook", "Give a webhook another name.")


@api_command(
    webhook,
    "set",
    "atelier webhook set ID --off",
    "atelier webhook set ID --url https://example.com/new --event job.succeeded",
    show=table("id", "url", "events", "enabled"),
)
@cli_options.id_argument("webhook")
@click.option("--url", help="Another address.")
@events
@click.option("--on/--off", "enabled", default=None, help="Switch it on or off.")
def set_webhook(
    api: Client, webhook_id: str, url: str | None, events: tuple[str, ...], enabled: bool | None
) -> list[Webhook]:
    """Change a webhook."""
    asked = {"url": url, "events": [*events] or None, "enabled": enabled}
    given = {name: value for name, value in asked.items() if value is not None}
    return [api.webhooks.change(webhook_id, **given)]


@api_command(
    webhook,
    "new-secret",
    "atelier webhook new-secret ID",
    "atelier webhook new-secret ID --revoke",
    show=echo_field("secret"),
)
@cli_options.id_argument("webhook")
@click.option("--revoke", is_flag=True, help="The one before it signs no more: somebody has it.")
def new_secret(api: Client, webhook_id: str, revoke: bool) -> Webhook:
    """Print a new secret; the one before it signs as well for 24 hours."""
    return api.webhooks.new_secret(webhook_id, revoke=revoke)


@api_command(webhook, "test", "atelier webhook test ID", show=echo_field("id"))
@cli_options.id_argument("webhook")
def test(api: Client, webhook_id: str) -> Delivery:
    """Send a test message; print its id."""
    return api.webhooks.test(webhook_id)


@api_command(
    webhook,
    "deliveries",
    "atelier webhook deliveries ID",
    show=table("id", "type", "job_id", "state", "attempts", "status", "error", "created_at"),
)
@cli_options.id_argument("webhook")
@cli_options.limit
def deliveries(api: Client, webhook_id: str, limit: int) -> list[Delivery]:
    """List what it was told and is to be told, newest first."""
    return api.webhooks.deliveries(webhook_id, limit=limit)


@api_command(webhook, "send-again", "atelier webhook send-again ID DELIVERY", show=echo_field("id"))
@cli_options.id_argument("webhook")
@click.argument("delivery_id")
def send_again(api: Client, webhook_id: str, delivery_id: str) -> Delivery:
    """Send a message once more, under the same id."""
    return api.webhooks.send_again(webhook_id, delivery_id)


add_delete(webhook, "webhook", "Delete a webhook and what it was told.")
