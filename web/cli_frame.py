"""What all commands share: exit codes, errors in words, the client, progress, and how a command is declared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from atelier_client import ApiError, Client, ClientError, Unreachable
from atelier_client.progress import ProgressLine
from shared.errors import AppError, BadSettings
from web import cli_options
from web.cli_output import echo_json, plain

# A script wants to know soon that nobody is there; a download is more patient, and a watch outlives a restart.
PATIENCE = 5.0
TRANSFER_PATIENCE = 60.0
WATCH_PATIENCE = 600.0

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
    """What a command shows, and how it ends. `said`: people have seen it already."""

    value: Any
    exit_code: int = 0
    said: bool = False


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def command(
    group: click.Group, name: str, *shown_examples: str, show: Callable[[Any], None]
) -> Callable[[Command], click.Command]:
    """A command with --json: the function returns an object, which `show` prints for people."""

    def declare(function: Command) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, **options: Any) -> None:
            ended = function(**options)
            ended = ended if isinstance(ended, Ended) else Ended(ended)
            if as_json:
                echo_json(ended.value)
            elif not ended.said:
                show(ended.value)
            click.get_current_context().exit(ended.exit_code)

        return group.command(name, epilog=examples(*shown_examples))(cli_options.as_json(run))

    return declare


def api_command(
    group: click.Group,
    name: str,
    *shown_examples: str,
    show: Callable[[Any], None],
    patience: float | None = None,
) -> Callable[[Command], click.Command]:
    """A command over HTTP: the function gets the client and returns an object of the API."""

    def declare(function: Command) -> click.Command:
        @functools.wraps(function)
        def run(**options: Any) -> Any:
            short = PATIENCE if patience is None else patience
            api = client(WATCH_PATIENCE if options.get("wait") else short)
            return function(api, **options)

        return command(group, name, *shown_examples, show=show)(run)

    return declare


def client(patience: float) -> Client:
    """The client for ATELIER_URL and ATELIER_TOKEN; closed when the command ends."""
    ctx = click.get_current_context()
    found = ctx.find_root().params
    if not found.get("token"):
        raise click.UsageError("Set ATELIER_TOKEN to your API token (`atelier user create NAME`).")
    made = Client(found["url"], found["token"], patience=patience)
    ctx.call_on_close(made.close)
    return made


@contextmanager
def progress(label: str, quiet: bool) -> Iterator[ProgressLine]:
    """A line on stderr that is ended whatever happens."""
    line = ProgressLine(plain(label), quiet=quiet)
    try:
        yield line
    finally:
        line.end()
