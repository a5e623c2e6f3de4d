"""`atelier me`, `atelier token`, `atelier invitation`: who you are here, over HTTP."""

from __future__ import annotations

import click

from atelier_client import Client, Me, Token
from web import cli_options
from web.cli_frame import Commands, api_command
from web.cli_nouns import add_delete
from web.cli_output import Object, echo_card, echo_field, echo_table, table

# what is held of each quota
QUOTAS = (
    ("max_queued_jobs", ("queued_jobs",)),
    ("max_running_jobs", ("running_jobs",)),
    ("max_storage_bytes", ("storage_bytes",)),
    # what jobs may still need counts from their acceptance on
    ("max_device_seconds_a_day", ("device_seconds_today", "device_seconds_reserved")),
)


def add_to(main: click.Group) -> None:
    """Puts the commands into the main group."""

    @api_command(main, "me", "atelier me", "atelier me --json | jq .use", show=_echo_me)
    def me(api: Client) -> Me:
        """Show who you are here, what you may hold, and what you hold."""
        return api.me()

    for group in (token, invitation):
        main.add_command(group)


@click.group(cls=Commands)
def token() -> None:
    """Your API tokens. These commands need a token without scopes."""


@api_command(
    token,
    "list",
    "atelier token list",
    show=table("id", "name", "prefix", "scopes", "created_at", "expires_at", "used_at"),
)
def list_tokens(api: Client) -> list[Token]:
    """List your tokens."""
    return api.tokens.list()


@api_command(
    token,
    "create",
    "atelier token create notebook --expires-days 30",
    "atelier token create reader --scope jobs:read --scope models:read",
    show=echo_field("token"),
)
@click.argument("name")
@cli_options.scopes
@cli_options.expires_days
def create_token(
    api: Client, name: str, scopes: tuple[str, ...], expires_days: int | None
) -> Token:
    """Print a new token; without --scope it may do all that you may. It cannot be read again."""
    return api.tokens.create(name, scopes=scopes, expires_days=expires_days)


add_delete(token, "token", "Revoke a token.")


@click.group(cls=Commands)
def invitation() -> None:
    """For administrators: links with which people make accounts of their own."""


@api_command(
    invitation,
    "list",
    "atelier invitation list",
    show=table("id", "note", "used", "uses", "created_at", "expires_at"),
)
def list_invitations(api: Client) -> list[Object]:
    """List the invitations, newest first."""
    return api.invitations.list()


@api_command(
    invitation,
    "create",
    "atelier invitation create --note 'for Ann'",
    show=echo_field("link"),
)
@cli_options.invitation
def create_invitation(api: Client, note: str, uses: int, expires_days: int) -> Object:
    """Print a link with which somebody makes an account (ATELIER_SIGN_UP=invite or open)."""
    return api.invitations.create(note=note, uses=uses, expires_days=expires_days)


add_delete(invitation, "invitation", "Take an invitation back.")


def _echo_me(found: Object) -> None:
    echo_card({"id": found["id"], "name": found["name"], "roles": ", ".join(found["roles"])})
    click.echo()
    quota, use = found["quota"], found["use"]
    rows = [
        {
            "quota": held[0],
            "used": sum(use[part] for part in held),
            "allowed": "any" if quota[name] is None else quota[name],
        }
        for name, held in QUOTAS
    ]
    echo_table(rows, ("quota", "used", "allowed"))
    click.echo(f"\ndevice-seconds in all: {use['device_seconds']:.0f}")
