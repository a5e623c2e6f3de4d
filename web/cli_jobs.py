"""`atelier job`: submit, watch, change. Ids go to stdout and everything for people's eyes to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from atelier_client import ApiError, Client, Job
from atelier_client.progress import ProgressLine
from web import cli_params
from web.cli_frame import (
    AFTER_STATE,
    PATIENCE,
    Commands,
    Ended,
    Object,
    api_command,
    as_json,
    client,
    examples,
    force,
    id_argument,
    id_option,
    quiet,
)
from web.cli_output import (
    echo_card,
    echo_field,
    echo_json,
    echo_nothing,
    echo_table,
    plain,
)

KINDS = ("train", "generate", "evaluate", "prepare", "tune")
# A watch outlives a restart of the server.
WATCH_PATIENCE = 600.0
COLUMNS = ("id", "kind", "family", "name", "state", "percent", "device_seconds", "created_at")


@click.group(cls=Commands)
def job() -> None:
    """Trainings, generations and other work in the queue."""


@job.command(
    "submit",
    epilog=examples(
        "atelier job submit train --family transformer_lm --dataset ID -p steps=500 --wait",
        'atelier job submit generate --model ID -p prompt="Dear " -p count=4 --seed 7',
        "atelier job submit train --family vae --dataset ID --params-file vae.json --dry-run",
    ),
)
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--family", help="Model family; for a generation its model says which.")
@id_option("--dataset", "dataset", "Dataset to train on.")
@id_option("--model", "model", "Model to generate with.")
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
@quiet
@as_json
@click.pass_context
def submit(ctx: click.Context, /, wait: bool, quiet: bool, as_json: bool, **options: Any) -> None:
    """Submit a job and print its id.

    Values of -p are JSON where they can be read as JSON, and text otherwise:
    -p steps=500 -p prompt="Once upon a time". `atelier family show NAME` lists the parameters.
    """
    pairs, file = options.pop("pairs"), options.pop("params_file")
    dry_run = options["dry_run"]
    api = client(ctx, WATCH_PATIENCE if wait else PATIENCE)
    params = cli_params.from_file(file)
    params |= cli_params.from_pairs(pairs, lambda: _schema(api, options))
    made = api.jobs.submit(options.pop("kind"), params, **options)
    if dry_run:
        (echo_json if as_json else echo_card)(made)
        return
    if not as_json:
        click.echo(made["id"])
    if wait:
        made = _watch(api, made["id"], ProgressLine(made["id"], quiet=quiet))
    if as_json:
        echo_json(made)
    if wait:
        ctx.exit(AFTER_STATE[made["state"]])


@api_command(
    job,
    "watch",
    "atelier job watch ID && echo done",
    "atelier job watch ID --log",
    "atelier job watch ID --events --after 120 > events.jsonl",
    show=echo_nothing,
    patience=WATCH_PATIENCE,
)
@id_argument("job")
@click.option("--log", is_flag=True, help="Show the job's log, too.")
@click.option("--events", is_flag=True, help="Print each event as a line of JSON on stdout.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only events after this number.")
@quiet
def watch(api: Client, job_id: str, log: bool, events: bool, after: int, quiet: bool) -> Ended:
    """Show a job's progress until it ends; the exit code is its outcome.

    Survives a restart of the server, and goes on after the last event it has seen. Ctrl-C ends the
    watching, not the job.
    """
    line = ProgressLine(job_id, quiet=quiet)
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
        try:
            return api.jobs.wait(job_id, line.job)
        finally:
            line.end()
    try:
        for event in api.jobs.follow(job_id, after, line.job):
            if events:
                click.echo(json.dumps(event, ensure_ascii=False))
            if log and event["type"] == "log":
                for text in str(event["data"].get("text", "")).splitlines():
                    line.say(plain(text))
    finally:
        line.end()
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
@id_option("--model", "model", "Made with this model.")
@id_option("--dataset", "dataset", "Trained on this dataset.")
@click.option(
    "--since",
    "created_after",
    callback=cli_params.since,
    metavar="TIME",
    help="Submitted after: 90m, 2h, 3d ago, 2026-11-25, or a full time.",
)
@click.option("--search", "-q", "--query", "q", metavar="TEXT", help="Part of the name, or an id.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
def list_jobs(api: Client, limit: int, **filters: str | None) -> list[Job]:
    """List your jobs, newest first."""
    return api.jobs.list(limit=limit, **filters)


@api_command(
    job, "show", "atelier job show ID", "atelier job show ID --json | jq .params", show=echo_card
)
@id_argument("job")
def show(api: Client, job_id: str) -> Job:
    """Show one job."""
    return api.jobs.get(job_id)


@job.command("log", epilog=examples("atelier job log ID"))
@id_argument("job")
@click.pass_context
def log(ctx: click.Context, job_id: str) -> None:
    """Print a job's log."""
    text = client(ctx).jobs.log(job_id)
    click.echo(text, nl=not text.endswith("\n"))


@api_command(
    job,
    "metrics",
    "atelier job metrics ID",
    "atelier job metrics ID --json --max-points 100 > curves.json",
    show=lambda found: echo_table(_curves(found), ("metric", "step", "last", "least", "most")),
)
@id_argument("job")
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


@api_command(job, "retry", "atelier job retry ID", show=echo_field("id"))
@id_argument("job")
def retry(api: Client, job_id: str) -> Job:
    """Submit a job again, with the same seed and parameters; print the new id."""
    return api.jobs.retry(job_id)


@api_command(job, "cancel", "atelier job cancel ID", show=echo_field("state"))
@id_argument("job")
def cancel(api: Client, job_id: str) -> Job:
    """Cancel a job, queued or running."""
    return api.jobs.cancel(job_id)


@api_command(job, "pause", "atelier job pause ID", show=echo_field("state"))
@id_argument("job")
def pause(api: Client, job_id: str) -> Job:
    """Take a job off its device at a checkpoint and keep it."""
    return api.jobs.pause(job_id)


@api_command(job, "resume", "atelier job resume ID", show=echo_field("state"))
@id_argument("job")
def resume(api: Client, job_id: str) -> Job:
    """Let a paused job continue."""
    return api.jobs.resume(job_id)


@api_command(
    job, "delete", "atelier job delete ID", "atelier job delete ID --force", show=echo_nothing
)
@id_argument("job")
@force
def delete(api: Client, job_id: str, force: bool) -> Object:
    """Delete a job and what it made; a running one is cancelled first."""
    api.jobs.delete(job_id, force=force)
    return {"id": job_id, "deleted": True}


@api_command(
    job,
    "download",
    "atelier job download ID -o pictures/",
    show=lambda found: click.echo("".join(f"{file['path']}\n" for file in found), nl=False),
    patience=60.0,
)
@id_argument("job")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder to put the files in.  [default: this folder]",
)
@quiet
def download(api: Client, job_id: str, output: Path, quiet: bool) -> list[Object]:
    """Download all that a job made, each checked by its SHA-256; print the paths."""
    output.mkdir(parents=True, exist_ok=True)
    files = []
    for made in api.jobs.artifacts(job_id):
        line = ProgressLine(plain(made["name"]), quiet=quiet)
        path = made.save(output, line.sent)
        line.end()
        files.append(made | {"path": str(path)})
    return files


def _row(found: Object) -> Object:
    fraction = (found.get("progress") or {}).get("fraction")
    return found | {"percent": f"{fraction:.0%}" if fraction is not None else ""}


def _schema(api: Client, options: Object) -> Object:
    """Parameters as the model or the family declares them; nothing if there is none of that id."""
    found: Any
    try:
        if options["model_id"]:
            found = api.models.get(options["model_id"]).get("generate_schema")
        else:
            actions = (api.families.get(options["family"] or "") or Object()).get("actions", {})
            found = actions.get(options["kind"], {}).get("schema")
    except ApiError:
        return {}
    return found or {}
