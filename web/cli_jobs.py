"""`atelier job`: submit, watch, change. Ids go to stdout and everything for people's eyes to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from atelier_client import ApiError, Client
from atelier_client.progress import ProgressLine
from web.cli_frame import (
    AFTER_STATE,
    PATIENCE,
    Commands,
    Object,
    as_json,
    client,
    echo_card,
    echo_json,
    echo_table,
)

KINDS = ("train", "generate", "evaluate", "prepare", "tune")
# A watch outlives a restart of the server.
WATCH_PATIENCE = 600.0
COLUMNS = ("id", "kind", "family", "name", "state", "percent", "device_seconds", "created_at")


@click.group(cls=Commands)
def job() -> None:
    """Trainings, generations and other work in the queue."""


@job.command("submit")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--family", help="Model family; for a generation its model says which.")
@click.option("--dataset", "dataset_id", metavar="ID", help="Dataset to train on.")
@click.option("--model", "model_id", metavar="ID", help="Model to generate with.")
@click.option("-p", "--param", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter.")
@click.option(
    "--params-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON object with parameters; -p goes before it.",
)
@click.option("--seed", type=int, help="[default: chosen by the server]")
@click.option("--name", help="A name to find the job by.")
@click.option("--priority", type=int, help="Among your own jobs; ten minutes of waiting are one.")
@click.option("--deadline", "deadline_seconds", type=float, metavar="SECONDS", help="Fail after.")
@click.option("--waits-for", metavar="JOB", help="Start after this job succeeded.")
@click.option("--idempotency-key", metavar="KEY", help="Submitting it twice makes one job.")
@click.option("--dry-run", is_flag=True, help="Check and estimate only.")
@click.option("--wait", is_flag=True, help="Watch the job; the exit code is its outcome.")
@as_json
@click.pass_context
def submit(ctx: click.Context, /, wait: bool, as_json: bool, **options: Any) -> None:
    """Submit a job and print its id.

    Values of -p are JSON where they can be read as JSON, and text otherwise:
    -p steps=500 -p prompt="Once upon a time". `atelier family show NAME` lists the parameters.
    """
    pairs, file = options.pop("pairs"), options.pop("params_file")
    dry_run = options["dry_run"]
    api = client(ctx, WATCH_PATIENCE if wait else PATIENCE)
    params = _from_file(file) | _from_pairs(pairs, lambda: _schema(api, options))
    made = api.jobs.submit(options.pop("kind"), params, **options)
    if dry_run:
        (echo_json if as_json else echo_card)(made)
        return
    if not as_json:
        click.echo(made["id"])
    if wait:
        made = _watch(api, made["id"])
    if as_json:
        echo_json(made)
    if wait:
        ctx.exit(AFTER_STATE[made["state"]])


@job.command("watch")
@click.argument("job_id")
@as_json
@click.pass_context
def watch(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Show a job's progress until it ends; the exit code is its outcome.

    Survives a restart of the server. Ctrl-C ends the watching, not the job.
    """
    ended = _watch(client(ctx, WATCH_PATIENCE), job_id)
    if as_json:
        echo_json(ended)
    ctx.exit(AFTER_STATE[ended["state"]])


@job.command("list")
@click.option("--state", help="queued, running, succeeded, failed or cancelled.")
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--family")
@click.option("-q", "--query", "q", help="Part of the name.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@as_json
@click.pass_context
def list_jobs(ctx: click.Context, /, limit: int, as_json: bool, **filters: str | None) -> None:
    """List your jobs, newest first."""
    found = client(ctx).jobs.list(limit=limit, **filters)
    if as_json:
        echo_json(found)
    else:
        echo_table(map(_row, found), COLUMNS)


@job.command("show")
@click.argument("job_id")
@as_json
@click.pass_context
def show(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Show one job."""
    (echo_json if as_json else echo_card)(client(ctx).jobs.get(job_id))


@job.command("log")
@click.argument("job_id")
@click.pass_context
def log(ctx: click.Context, job_id: str) -> None:
    """Print a job's log."""
    text = client(ctx).jobs.log(job_id)
    click.echo(text, nl=not text.endswith("\n"))


@job.command("retry")
@click.argument("job_id")
@as_json
@click.pass_context
def retry(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Submit a job again, with the same seed and parameters; print the new id."""
    made = client(ctx).jobs.retry(job_id)
    if as_json:
        echo_json(made)
    else:
        click.echo(made["id"])


@job.command("cancel")
@click.argument("job_id")
@as_json
@click.pass_context
def cancel(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Cancel a job, queued or running."""
    _tell(client(ctx).jobs.cancel(job_id), as_json)


@job.command("pause")
@click.argument("job_id")
@as_json
@click.pass_context
def pause(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Take a job off its device at a checkpoint and keep it."""
    _tell(client(ctx).jobs.pause(job_id), as_json)


@job.command("resume")
@click.argument("job_id")
@as_json
@click.pass_context
def resume(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Let a paused job continue."""
    _tell(client(ctx).jobs.resume(job_id), as_json)


def _watch(api: Client, job_id: str) -> Object:
    line = ProgressLine(job_id)
    try:
        return api.jobs.wait(job_id, line.job)
    finally:
        line.end()


def _tell(changed: Object, as_json: bool) -> None:
    if as_json:
        echo_json(changed)
    else:
        click.echo(changed["state"])


def _row(found: Object) -> Object:
    fraction = (found.get("progress") or {}).get("fraction")
    return found | {"percent": f"{fraction:.0%}" if fraction is not None else ""}


def _from_file(file: Path | None) -> Object:
    if file is None:
        return {}
    try:
        params = json.loads(file.read_text())
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from error
    if not isinstance(params, dict):
        raise click.UsageError(f"{file}: must hold a JSON object")
    return params


def _from_pairs(pairs: tuple[str, ...], schema: Callable[[], Object]) -> Object:
    """The schema is asked for only when a value could be meant as text: -p class_label=3."""
    texts: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"-p {pair}: write KEY=VALUE")
        texts[key] = value
    params = {key: _value(text) for key, text in texts.items()}
    if any(not isinstance(value, str) for value in params.values()):
        rules = schema().get("properties", {})
        for key, value in params.items():
            if value is not None and _only_text(rules.get(key, {})):
                params[key] = value if isinstance(value, str) else texts[key]
    return params


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _only_text(rule: Object) -> bool:
    branches = rule.get("anyOf", [rule])
    types = {branch.get("type") for branch in branches} - {"null"}
    return types == {"string"}


def _schema(api: Client, options: Object) -> Object:
    """Parameters as the model or the family declares them; nothing if there is none of that id."""
    try:
        if options["model_id"]:
            found = api.models.get(options["model_id"]).get("generate_schema")
        else:
            found = (api.families.get(options["family"] or "") or {}).get("actions", {})
            found = found.get(options["kind"], {}).get("schema")
    except ApiError:
        return {}
    return found or {}
