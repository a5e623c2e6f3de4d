"""`atelier user`: accounts, managed straight in the database, whether or not the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.config import Settings, read_settings
from web import cli_options
from web.cli_frame import Commands, command
from web.cli_output import Object, echo_card, echo_field, echo_table

if TYPE_CHECKING:
    from web.services.studio import Studio

QUOTAS = ("max_queued_jobs", "max_running_jobs", "max_storage_bytes", "max_device_seconds_a_day")
USES = ("queued_jobs", "running_jobs", "storage_bytes", "device_seconds")


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
    # what serves takes a while to import; the commands over HTTP do without
    from web.data_folder import prepare
    from web.services.studio import open_studio

    settings = read_settings(data=data)
    prepare(settings)
    studio = open_studio(settings)
    try:
        yield settings, studio
    finally:
        studio.close()


@click.group(cls=Commands)
def user() -> None:
    """Accounts of this installation."""


@command(user, "create", "atelier user create ann --admin", show=echo_field("token"))
@click.argument("name")
@click.option("--admin", is_flag=True, help="May manage accounts and see everything.")
@cli_options.data
def create(name: str, admin: bool, data: Path | None) -> Object:
    """Make an account and print its API token: one line, shown once."""
    from web.services.accounts import create_user
    from web.services.tokens import issue_token

    with _opened(data) as (_, studio):
        made = create_user(studio.db, name, admin)
        token = issue_token(studio.db, made, "command line")
        return {"id": made.id, "name": made.name, "role": made.role, "token": token["token"]}


@command(user, "passwd", "atelier user passwd ann", show=echo_field("link"))
@click.argument("name")
@cli_options.data
def passwd(name: str, data: Path | None) -> Object:
    """Print a one-time link with which NAME sets a new password."""
    from web.services.accounts import password_link
    from web.up import address

    with _opened(data) as (settings, studio):
        return {"name": name, "link": f"{address(settings)}{password_link(studio, name)}"}


@command(user, "list", "atelier user list", show=lambda found: _echo_users(found))
@cli_options.data
def list_users(data: Path | None) -> list[Object]:
    """List the accounts and what each holds, newest first."""
    from web.services import people
    from web.services.job_lists import Page

    found: list[Object] = []
    with _opened(data) as (_, studio):
        after: str | None = None
        while True:
            part = people.list_users(studio, Page(limit=200, after=after))
            found += part["items"]
            after = part["next"]
            if after is None:
                return found


@command(user, "show", "atelier user show ann", show=lambda found: _echo_user(found))
@click.argument("name")
@cli_options.data
def show(name: str, data: Path | None) -> Object:
    """Show an account, its quotas and what it holds."""
    from web.services import people

    with _opened(data) as (_, studio):
        return people.get_user(studio, people.id_of(studio, name))


@command(
    user,
    "set",
    "atelier user set ann --max-running-jobs 2 --weight 1.5",
    "atelier user set bob --inactive",
    show=lambda found: _echo_user(found),
)
@click.argument("name")
@click.option("--active/--inactive", default=None, help="Deactivated, nothing of it runs.")
@click.option("--role", type=click.Choice(["user", "admin"]), help="What it may do.")
@click.option("--weight", type=float, help="Its part of the devices; 1 is plain.")
@click.option("--max-queued-jobs", type=QuotaValue(), help="Queued jobs.")
@click.option("--max-running-jobs", type=QuotaValue(), help="Running jobs.")
@click.option("--max-storage-bytes", type=QuotaValue(), help="Stored bytes.")
@click.option("--max-device-seconds-a-day", type=QuotaValue(), help="Device-seconds in 24 hours.")
@cli_options.data
def set_user(name: str, data: Path | None, **asked: Any) -> Object:
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
        return people.change_user(studio, None, people.id_of(studio, name), change)


@command(user, "invite", "atelier user invite --note 'for Ann'", show=echo_field("link"))
@cli_options.invitation
@cli_options.data
def invite(note: str, uses: int, expires_days: int, data: Path | None) -> Object:
    """Print a link with which somebody makes an account (ATELIER_SIGN_UP=invite or open)."""
    from web.requests import check
    from web.requests_people import InvitationRequest
    from web.services import invitations
    from web.up import address

    values = {"note": note, "uses": uses, "expires_days": expires_days}
    asked = check(InvitationRequest, values)
    with _opened(data) as (settings, studio):
        made, path = invitations.invite(studio, None, asked)
        return {**made, "link": f"{address(settings)}{path}"}


@command(
    user,
    "token",
    "atelier user token ann --scope jobs:read --expires-days 30",
    show=echo_field("token"),
)
@click.argument("name")
@click.option("--name", "token_name", default="command line", help="What the token is for.")
@cli_options.scopes
@cli_options.expires_days
@cli_options.data
def token(
    name: str,
    token_name: str,
    scopes: tuple[str, ...],
    expires_days: int | None,
    data: Path | None,
) -> Object:
    """Print a new API token of an account; without --scope it may do all that NAME may."""
    from web.requests import TokenRequest, check
    from web.services import people
    from web.services.tokens import issue_token

    values = {"name": token_name, "scopes": list(scopes), "expires_days": expires_days}
    asked = check(TokenRequest, values)
    with _opened(data) as (_, studio):
        owner = people.active_user(studio, name)
        return issue_token(studio.db, owner, asked.name, asked.expires_days, asked.scopes)


def _echo_users(found: list[Object]) -> None:
    rows = [{**one, **{name: one["use"][name] for name in USES}} for one in found]
    echo_table(rows, ("name", "role", "active", *USES, "created_at"))


def _echo_user(found: Object) -> None:
    card = {key: value for key, value in found.items() if not isinstance(value, dict)}
    echo_card({**card, **found["limits"], **{f"use: {k}": v for k, v in found["use"].items()}})
