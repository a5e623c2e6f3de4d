"""`atelier user list, show, set, invite, token`: managing accounts straight in the database, as `atelier user` does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.config import Settings
from web.cli_frame import as_json, echo_card, echo_json, echo_table
from web.cli_users import data_option, prepared, user

if TYPE_CHECKING:
    from web.services.studio import Studio

__all__ = ["user"]

QUOTAS = ("max_queued_jobs", "max_running_jobs", "max_storage_bytes", "max_device_seconds_a_day")
SCOPES = (
    "jobs:read",
    "jobs:write",
    "datasets:read",
    "datasets:write",
    "models:read",
    "models:write",
    "admin",
)


class QuotaValue(click.ParamType[float | str]):
    """A number, or `default`."""

    name = "n|default"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        if value == "default":
            return "default"
        try:
            number = float(value)
        except ValueError:
            self.fail("must be a number, or default", param, ctx)
        return int(number) if number.is_integer() else number


@contextmanager
def _opened(data: Path | None) -> Iterator[tuple[Settings, Studio]]:
    from web.services.studio import open_studio

    settings = prepared(data)
    studio = open_studio(settings)
    try:
        yield settings, studio
    finally:
        studio.close()


@user.command("list")
@data_option
@as_json
def list_users(data: Path | None, as_json: bool) -> None:
    """List the accounts and what each holds, newest first."""
    from web.services import people
    from web.services.job_lists import Page

    found: list[dict[str, Any]] = []
    with _opened(data) as (_, studio):
        after: str | None = None
        while True:
            part = people.list_users(studio, Page(limit=200, after=after))
            found += part["items"]
            after = part["next"]
            if after is None:
                break
    if as_json:
        echo_json(found)
        return
    names = ("queued_jobs", "running_jobs", "storage_bytes", "device_seconds")
    rows = [{**one, **{name: one["use"][name] for name in names}} for one in found]
    echo_table(rows, ("name", "role", "active", *names, "created_at"))


@user.command("show")
@click.argument("name")
@data_option
@as_json
def show(name: str, data: Path | None, as_json: bool) -> None:
    """Show an account, its quotas and what it holds."""
    from web.services import people

    with _opened(data) as (_, studio):
        found = people.get_user(studio, people.id_of(studio, name))
    _echo(found, as_json)


@user.command("set")
@click.argument("name")
@click.option("--active/--inactive", default=None, help="Deactivated, nothing of it runs.")
@click.option("--role", type=click.Choice(["user", "admin"]), help="What it may do.")
@click.option("--weight", type=float, help="Its part of the devices; 1 is plain.")
@click.option("--max-queued-jobs", type=QuotaValue(), help="Queued jobs.")
@click.option("--max-running-jobs", type=QuotaValue(), help="Running jobs.")
@click.option("--max-storage-bytes", type=QuotaValue(), help="Stored bytes.")
@click.option("--max-device-seconds-a-day", type=QuotaValue(), help="Device-seconds in 24 hours.")
@data_option
@as_json
def set_user(name: str, data: Path | None, as_json: bool, **asked: Any) -> None:
    """Change an account: quotas are numbers, or `default` for the installation's."""
    from web.requests import check
    from web.requests_people import UserChange
    from web.services import people

    given = {key: value for key, value in asked.items() if value is not None}
    quota = {key: given.pop(key) for key in QUOTAS if key in given}
    if quota:
        given["quota"] = {
            key: None if value == "default" else value for key, value in quota.items()
        }
    if not given:
        raise click.UsageError("Say what to change; --help lists the options.")
    change = check(UserChange, given)
    with _opened(data) as (_, studio):
        found = people.change_user(studio, None, people.id_of(studio, name), change)
    _echo(found, as_json)


@user.command("invite")
@click.option("--note", default="", help="For whom it is.")
@click.option("--uses", type=int, default=1, show_default=True, help="How many may use it.")
@click.option("--expires-days", type=int, default=7, show_default=True, help="How long it holds.")
@data_option
def invite(note: str, uses: int, expires_days: int, data: Path | None) -> None:
    """Print a link with which somebody makes an account (ATELIER_SIGN_UP=invite or open)."""
    from web.requests import check
    from web.requests_people import InvitationRequest
    from web.services import invitations
    from web.up import address

    values = {"note": note, "uses": uses, "expires_days": expires_days}
    asked = check(InvitationRequest, values)
    with _opened(data) as (settings, studio):
        _, path = invitations.invite(studio, None, asked)
    click.echo(f"{address(settings)}{path}")


@user.command("token")
@click.argument("name")
@click.option("--name", "token_name", default="command line", help="What the token is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it may do.")
@click.option("--expires-days", type=click.IntRange(1, 3650), help="How long it holds.")
@data_option
def token(
    name: str,
    token_name: str,
    scopes: tuple[str, ...],
    expires_days: int | None,
    data: Path | None,
) -> None:
    """Print a new API token of an account; without --scope it may do all that NAME may."""
    from web.requests import TokenRequest, check
    from web.services import people
    from web.services.tokens import issue_token

    values = {"name": token_name, "scopes": list(scopes), "expires_days": expires_days}
    asked = check(TokenRequest, values)
    with _opened(data) as (_, studio):
        owner = people.active_user(studio, name)
        made = issue_token(studio.db, owner, asked.name, asked.expires_days, asked.scopes)
    click.echo(made["token"])


def _echo(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(found)
        return
    card = {key: value for key, value in found.items() if not isinstance(value, dict)}
    echo_card({**card, **found["limits"], **{f"use: {k}": v for k, v in found["use"].items()}})
