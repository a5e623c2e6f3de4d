"""`atelier user`: accounts, made straight in the database, whether or not the server runs."""

from __future__ import annotations

from pathlib import Path

import click

from shared.config import Settings, read_settings
from web.cli_frame import Commands, examples

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder.  [env var: ATELIER_DATA; default: data]",
)


@click.group(cls=Commands)
def user() -> None:
    """Accounts of this installation."""


@user.command("create", epilog=examples("atelier user create ann --admin"))
@click.argument("name")
@click.option("--admin", is_flag=True, help="May manage accounts and see everything.")
@data_option
def create(name: str, admin: bool, data: Path | None) -> None:
    """Make an account and print its API token: one line, shown once."""
    from shared.db import Database
    from web.services.accounts import create_user
    from web.services.tokens import issue_token

    settings = prepared(data)
    database = Database(settings.database, pool_size=1)
    try:
        made = create_user(database, name, admin)
        token = issue_token(database, made, "command line")
    finally:
        database.dispose()
    click.echo(token["token"])


@user.command("passwd", epilog=examples("atelier user passwd ann"))
@click.argument("name")
@data_option
def passwd(name: str, data: Path | None) -> None:
    """Print a one-time link with which NAME sets a new password."""
    from web.services.accounts import password_link
    from web.services.studio import open_studio
    from web.up import address

    settings = prepared(data)
    studio = open_studio(settings)
    try:
        path = password_link(studio, name)
    finally:
        studio.close()
    click.echo(f"{address(settings)}{path}")


def prepared(data: Path | None) -> Settings:
    from web.data_folder import prepare

    settings = read_settings(data=data)
    prepare(settings)
    return settings
