"""`atelier job`: submit, watch, change. Ids go to stdout and everything for people's eyes to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from atelier_client import ApiError, Client, Job
from atelier_client.progress import ProgressLine
from web import cli_options, cli_params
from web.cli_frame import (
    AFTER_STATE,
    WATCH_PATIENCE,
    Commands,
    Ended,
    api_command,
    progress,
)
from web.cli_nouns import add_delete, add_show
from web.cli_output import Object, echo_card, echo_field, echo_nothing, echo_table, plain

KINDS = ("train", "generate", "evaluate", "prepare", "tune")
COLUMNS = ("id", "kind", "family", "name", "state", "percent", "device_seconds", "created_at")


@click.group(cls=Commands)
def job() -> None:
    """Trainings, generations and other work in the queue."""


@api_command(
    job,
    "submit",
    "atelier job submit train --family transformer_lm --dataset ID -p steps=500 --wait",
    'atelier job submit generate --model ID -p prompt="Dear " -p count=4 --seed 7',
    "atelier job submit train --family vae --dataset ID --params-file vae.json --dry-run",
    show=lambda made: echo_card(made) if "dry_run" in made else click.echo(made["id"]),
)
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--family", help="Model family; for a generation its model says which.")
@cli_options.id_option("--dataset", "dataset", "Dataset to train on.")
@cli_options.id_option("--model", "model", "Model to generate with.")
@click.option("-p", "--param", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter.")
@click.option(
    "--params-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON object with parameters; -p goes before it.",
)
@click.option("--seed", type=int, help="[default: chosen by the server]")
@cli_options.job_name
@click.option("--priority", type=int, help="Among your own jobs; ten minutes of waiting are one.")
@click.option("--deadline", "deadline_seconds", type=float, metavar="SECONDS", help="Fail after.")
@cli_options.id_option("--waits-for", "job", "Start after this job succeeded.")
@cli_options.idempotency_key
@click.option("--dry-run", is_flag=True, help="Check and estimate only.")
@cli_options.wait
@cli_options.quiet
def submit(
    api: Client,
    /,
    kind: str,
    pairs: tuple[str, ...],
    params_file: Path | None,
    dry_run: bool,
    wait: bool,
    quiet: bool,
    **fields: Any,
) -> Ended:
    """Submit a job and print its id.

    Values of -p are JSON where they can be read as JSON, and text otherwise:
    -p steps=500 -p prompt="Once upon a time". `atelier family show NAME` lists the parameters.
    """
    params = cli_params.from_file(params_file)
    params |= cli_params.from_pairs(pairs, lambda: _schema(api, kind, fields))
    key, fields["waits_for"] = fields.pop("idempotency_key"), fields.pop("job_id")
    if dry_run:
        return Ended(api.jobs.estimate(kind, params, **fields))
    made = api.jobs.submit(kind, params, idempotency_key=key, **fields)
    return new_job(api, made, wait, quiet)


def new_job(api: Client, made: Job, wait: bool, quiet: bool) -> Ended:
    """What a command that makes a job shows: the id at once, and with --wait what becomes of it."""
    if not wait:
        return Ended(made)
    if not click.get_current_context().params["as_json"]:
        click.echo(made["id"])
    with progress(made["id"], quiet) as line:
        ended = _watch(api, made["id"], line)
    return Ended(ended, AFTER_STATE[ended["state"]], said=True)


@api_command(
    job,
    "watch",
    "atelier job watch ID && echo done",
    "atelier job watch ID --log",
    "atelier job watch ID --events --after 120 > events.jsonl",
    show=echo_nothing,
    patience=WATCH_PATIENCE,
)
@cli_options.id_argument("job")
@click.option("--log", is_flag=True, help="Show the job's log, too.")
@click.option("--events", is_flag=True, help="Print each event as a line of JSON on stdout.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only events after this number.")
@cli_options.quiet
def watch(api: Client, job_id: str, log: bool, events: bool, after: int, quiet: bool) -> Ended:
    """Show a job's progress until it ends; the exit code is its outcome.

    Survives a restart of the server, and goes on after the last event it has seen. Ctrl-C ends the
    watching, not the job.
    """
    with progress(job_id, quiet) as line:
        ended = _watch(api, job_id, line, after=after, log=log, events=events)
    return Ended(ended, AFTER_STATE[ended["state"]])


def _watch(
    api: Client,
    job_id: str,
    line: ProgressLine,
    *,
    after: int = 0,
    log: bool = False,
    events: bool = False,
) -> Job:
    if not log and not events:
        return api.jobs.wait(job_id, line.job)
    for event in api.jobs.follow(job_id, after, line.job):
        if events:
            click.echo(json.dumps(event, ensure_ascii=False))
        if log and event["type"] == "log":
            for text in str(event["data"].get("text", "")).splitlines():
                line.say(plain(text))
    return api.jobs.get(job_id)


@api_command(
    job,
    "list",
    "atelier job list --state queued,running",
    "atelier job list --kind train --since 2d --json",
    "atelier job list --search letters --limit 5",
    show=lambda found: echo_table(map(_row, found), COLUMNS),
)
@click.option("--state", help="queued, running, succeeded, failed, cancelled; several with commas.")
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--family")
@cli_options.id_option("--model", "model", "Made with this model.")
@cli_options.id_option("--dataset", "dataset", "Trained on this dataset.")
@click.option(
    "--since",
    "created_after",
    callback=cli_params.since,
    metavar="TIME",
    help="Submitted after: 90m, 2h, 3d ago, 2026-11-25, or a full time.",
)
@click.option("--search", "-q", "--query", "q", metavar="TEXT", help="Part of the name, or an id.")
@cli_options.limit
def list_jobs(api: Client, limit: int, **filters: str | None) -> list[Job]:
    """List your jobs, newest first."""
    return api.jobs.list(limit=limit, **filters)


@api_command(
    job,
    "log",
    "atelier job log ID",
    show=lambda found: click.echo("\n".join(map(plain, found["log"].splitlines()))),
)
@cli_options.id_argument("job")
def log(api: Client, job_id: str) -> Object:
    """Print a job's log."""
    return {"id": job_id, "log": api.jobs.log(job_id)}


@api_command(
    job,
    "metrics",
    "atelier job metrics ID",
    "atelier job metrics ID --json --max-points 100 > curves.json",
    show=lambda found: echo_table(_curves(found), ("metric", "step", "last", "least", "most")),
)
@cli_options.id_argument("job")
@click.option("--max-points", type=click.IntRange(2, 10_000), help="Points of each curve.")
def metrics(api: Client, job_id: str, max_points: int | None) -> Object:
    """Show the last, the least and the greatest value of each metric; --json has the curves."""
    return api.jobs.metrics(job_id, max_points)


def _curves(found: Object) -> Iterable[Object]:
    for name, points in sorted(found["series"].items()):
        values = [value for _, _, value in points if value is not None]
        if values:
            last = {"step": points[-1][0], "last": points[-1][2]}
            yield {"metric": name, "least": min(values), "most": max(values)} | last


@api_command(
    job,
    "retry",
    "atelier job retry ID",
    "atelier job retry ID --wait",
    show=echo_field("id"),
)
@cli_options.id_argument("job")
@cli_options.wait
@cli_options.quiet
def retry(api: Client, job_id: str, wait: bool, quiet: bool) -> Ended:
    """Submit a job again, with the same seed and parameters; print the new id."""
    return new_job(api, api.jobs.retry(job_id), wait, quiet)


@api_command(job, "cancel", "atelier job cancel ID", show=echo_field("state"))
@cli_options.id_argument("job")
def cancel(api: Client, job_id: str) -> Job:
    """Cancel a job, queued or running."""
    return api.jobs.cancel(job_id)


@api_command(job, "pause", "atelier job pause ID", show=echo_field("state"))
@cli_options.id_argument("job")
def pause(api: Client, job_id: str) -> Job:
    """Take a job off its device at a checkpoint and keep it."""
    return api.jobs.pause(job_id)


@api_command(job, "resume", "atelier job resume ID", show=echo_field("state"))
@cli_options.id_argument("job")
def resume(api: Client, job_id: str) -> Job:
    """Let a paused job continue."""
    return api.jobs.resume(job_id)


add_show(job, "job", "Show one job.")
delete_text = "Delete a job and what it made; a running one is cancelled first."
add_delete(job, "job", delete_text, forced=True)


def _row(found: Object) -> Object:
    fraction = (found.get("progress") or {}).get("fraction")
    return found | {"percent": f"{fraction:.0%}" if fraction is not None else ""}


def _schema(api: Client, kind: str, fields: Object) -> Object:
    """Parameters as the model or the family declares them; nothing if there is none of that id."""
    found: Any = None
    try:
        if fields["model_id"]:
            found = api.models.get(fields["model_id"]).get("generate_schema")
        elif fields["family"]:
            found = api.families.get(fields["family"])["actions"].get(kind, {}).get("schema")
    except ApiError:
        return {}
    return found or {}
