"""Arguments and options that several commands take: declared once, so they are called and explained alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from atelier_client import Client, ClientError
from atelier_client.account import SCOPES
from web.cli_output import plain

# Whoever presses Tab waits.
COMPLETION_SECONDS = 2.0
MOST_COMPLETIONS = 50
# lists of the API that ids complete from
LISTS = {
    "job": "/jobs",
    "model": "/models",
    "artifact": "/artifacts",
    "dataset": "/datasets",
    "token": "/me/tokens",
    "upload": "/uploads",
    "invitation": "/invitations",
    "webhook": "/webhooks",
}

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's objects.")
quiet = click.option("--quiet", is_flag=True, help="Show no progress.")
force = click.option("--force", is_flag=True, help="Also when others depend on it.")
wait = click.option("--wait", is_flag=True, help="Watch the job; the exit code is its outcome.")
job_name = click.option("--name", help="A name to find the job by.")
idempotency_key = click.option(
    "--idempotency-key", metavar="KEY", help="Submitting it twice makes one job."
)
limit = click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
expires_days = click.option(
    "--expires-days", type=click.IntRange(1, 3650), help="How long it holds."
)
scopes = click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it may do."
)
data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder.  [env var: ATELIER_DATA; default: data]",
)
output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="File, or folder to put it in under its own name.  [default: this folder]",
)
output_folder = click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder to put the files in.  [default: this folder]",
)


def invitation(function: Command) -> Command:
    """What an invitation is made of."""
    for option in (
        click.option(
            "--expires-days", type=int, default=7, show_default=True, help="How long it holds."
        ),
        click.option("--uses", type=int, default=1, show_default=True, help="How many may use it."),
        click.option("--note", default="", help="For whom it is."),
    ):
        function = option(function)
    return function


def id_argument(noun: str, *, many: bool = False) -> Callable[[Command], Command]:
    """The argument JOB_ID of a job, and so on; Tab offers those that the server knows."""
    name, count = (f"{noun}_ids", -1) if many else (f"{noun}_id", 1)
    return click.argument(name, nargs=count, required=True, shell_complete=_completion(noun))


def id_option(
    flag: str, noun: str, help: str, *, many: bool = False
) -> Callable[[Command], Command]:
    return click.option(
        flag,
        f"{noun}_ids" if many else f"{noun}_id",
        metavar="ID",
        multiple=many,
        help=help,
        shell_complete=_completion(noun),
    )


def _completion(noun: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = ctx.find_root().params
        if noun not in LISTS or not found.get("token"):
            return []
        try:
            with Client(
                found["url"], found["token"], patience=0, timeout=COMPLETION_SECONDS
            ) as api:
                rows = api.first(LISTS[noun], MOST_COMPLETIONS)
        except ClientError:
            return []
        return [
            CompletionItem(row["id"], help=plain(f"{row.get('name') or ''} {row.get('state', '')}"))
            for row in rows
            if row["id"].startswith(incomplete)
        ]

    return complete
