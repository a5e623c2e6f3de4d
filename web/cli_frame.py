"""What all commands share: exit codes, errors in words, the client, JSON and tables on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from atelier_client import ApiError, Client, ClientError, Unreachable
from shared.errors import AppError, BadSettings

# A script wants to know soon that nobody is there; watching a job is more patient.
PATIENCE = 5.0

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

Object = dict[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's objects.")


class Commands(click.Group):
    """A group that ends with the exit code of the error, and says it in one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (AppError, ClientError, OSError) as error:
            click.echo(f"atelier: {_words(error)}", err=True)
            ctx.exit(_code(error))


def _words(error: Exception) -> str:
    fields = getattr(error, "errors", []) if isinstance(error, AppError) else []
    lines = [str(error), *(f"  {field['pointer']}: {field['message']}" for field in fields)]
    return "\n".join(lines)


def _code(error: Exception) -> int:
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, BadSettings):
        return USAGE
    if isinstance(error, ApiError) or (isinstance(error, AppError) and 400 <= error.status < 500):
        return REFUSED
    return 1


def client(ctx: click.Context, patience: float = PATIENCE) -> Client:
    """The client for ATELIER_URL and ATELIER_TOKEN; closed when the command ends."""
    found = ctx.find_root().params
    if not found.get("token"):
        raise click.UsageError("Set ATELIER_TOKEN to your API token (`atelier user create NAME`).")
    made = Client(found["url"], found["token"], patience=patience)
    ctx.call_on_close(made.close)
    return made


def echo_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def echo_table(rows: Iterable[Object], columns: Sequence[str]) -> None:
    """Aligned columns; nothing but the heads when there are no rows."""
    lines = [[column.upper().replace("_", " ") for column in columns]]
    lines += [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    # a name with control characters must not move the cursor of whoever lists it
    return "".join(c if c.isprintable() else "�" for c in str(value))


def echo_card(row: Object) -> None:
    """One object, a field a line."""
    width = max((len(name) for name in row), default=0)
    for name, value in row.items():
        click.echo(f"{name.ljust(width)}  {_cell(value)}".rstrip())
