"""What all commands share: exit codes, errors in words, the client, completed ids, and how a command is declared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from atelier_client import ApiError, Client, ClientError, Unreachable
from shared.errors import AppError, BadSettings
from web.cli_output import Object, echo_card, echo_json, echo_table, plain

__all__ = [
    "AFTER_STATE",
    "PATIENCE",
    "REFUSED",
    "Commands",
    "Ended",
    "Object",
    "api_command",
    "as_json",
    "client",
    "echo_card",
    "echo_json",
    "echo_table",
    "examples",
    "force",
    "id_argument",
    "id_option",
    "quiet",
]

# A script wants to know soon that nobody is there; watching a job is more patient.
PATIENCE = 5.0
# Whoever presses Tab waits.
COMPLETION_SECONDS = 2.0
MOST_COMPLETIONS = 50

JOB_FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4
JOB_CANCELLED = 5

EXIT_CODES = """\b
Exit codes:
  0  done
  1  the job failed, or the command did
  2  wrong usage or settings
  3  the server refused
  4  the server cannot be reached
  5  the job was cancelled
"""
AFTER_STATE = {"succeeded": 0, "failed": JOB_FAILED, "cancelled": JOB_CANCELLED}

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's objects.")
quiet = click.option("--quiet", is_flag=True, help="Show no progress.")
force = click.option("--force", is_flag=True, help="Also when others depend on it.")


class Commands(click.Group):
    """A group that ends with the exit code of the error, and says it in one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (AppError, ClientError, OSError) as error:
            click.echo(f"atelier: {_words(error)}", err=True)
            ctx.exit(_code(error))


# ---- errors ------------------------------------------------------------------------------------------


def _words(error: Exception) -> str:
    """What the server said, field by field; its words must not move anybody's cursor."""
    lines = [str(error)]
    if isinstance(error, ApiError):
        lines = [f"{error.detail} ({error.code})", *_more(error.body)]
    lines += [_field(problem) for problem in getattr(error, "errors", [])]
    return "\n".join(plain(part) for line in lines for part in line.split("\n"))


def _field(problem: Mapping[str, str]) -> str:
    pointer, message = problem.get("pointer", ""), problem.get("message", "")
    name = pointer.rsplit("/", 1)[-1].replace("~1", "/").replace("~0", "~")
    return f"  {name}: {message} ({pointer})" if name else f"  {message}"


def _more(body: Mapping[str, Any]) -> list[str]:
    """What stands in the way, and the number under which the log of the server tells more."""
    lines = [
        f"  needed by {thing.get('type', 'job')} "
        + str(thing.get("id") or f"({thing.get('count')} of {thing.get('whose')})")
        for thing in body.get("dependents", [])
    ]
    if int(body.get("status", 0)) >= 500 and body.get("request_id"):
        lines.append(f"  request {body['request_id']}")
    return lines


def _code(error: Exception) -> int:
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, BadSettings):
        return USAGE
    if isinstance(error, ApiError) or (isinstance(error, AppError) and 400 <= error.status < 500):
        return REFUSED
    return 1


# ---- how a command is declared -------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """What a command shows, and how it ends."""

    value: Any
    exit_code: int = 0


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def api_command(
    group: click.Group,
    name: str,
    *shown_examples: str,
    show: Callable[[Any], None],
    patience: float | None = None,
) -> Callable[[Command], click.Command]:
    """A command over HTTP: the function gets the client and returns an object of the API, which `show` prints
    for people and --json as it is."""

    def declare(function: Command) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, **options: Any) -> None:
            ctx = click.get_current_context()
            ended = function(client(ctx) if patience is None else client(ctx, patience), **options)
            ended = ended if isinstance(ended, Ended) else Ended(ended)
            (echo_json if as_json else show)(ended.value)
            ctx.exit(ended.exit_code)

        command = group.command(name, epilog=examples(*shown_examples))
        return command(as_json(run))

    return declare


def client(ctx: click.Context, patience: float = PATIENCE) -> Client:
    """The client for ATELIER_URL and ATELIER_TOKEN; closed when the command ends."""
    found = ctx.find_root().params
    if not found.get("token"):
        raise click.UsageError("Set ATELIER_TOKEN to your API token (`atelier user create NAME`).")
    made = Client(found["url"], found["token"], patience=patience)
    ctx.call_on_close(made.close)
    return made


# ---- ids that complete -----------------------------------------------------------------------------------


def id_argument(noun: str) -> Callable[[Command], Command]:
    """The argument JOB_ID of a job, and so on; Tab offers those that the server knows."""
    return click.argument(f"{noun}_id", shell_complete=_completion(noun))


def id_option(flag: str, noun: str, help: str) -> Callable[[Command], Command]:
    name = f"{noun}_id"
    return click.option(flag, name, metavar="ID", help=help, shell_complete=_completion(noun))


def _completion(noun: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = ctx.find_root().params
        if noun not in ("job", "model", "dataset") or not found.get("token"):
            return []
        try:
            with Client(
                found["url"], found["token"], patience=0, timeout=COMPLETION_SECONDS
            ) as api:
                rows = api.first(f"/{noun}s", MOST_COMPLETIONS)
        except ClientError:
            return []
        return [
            CompletionItem(row["id"], help=plain(f"{row.get('name') or ''} {row.get('state', '')}"))
            for row in rows
            if row["id"].startswith(incomplete)
        ]

    return complete
