"""What jobs leave behind: `atelier artifact`, and of `atelier job` checkpoints, more steps, downloads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from atelier_client import Artifact, Checkpoint, Client
from web import cli_options
from web.cli_frame import TRANSFER_PATIENCE, Commands, Ended, api_command, progress
from web.cli_jobs import job, new_job
from web.cli_nouns import add_delete, add_share, add_show
from web.cli_output import Object, echo_card, echo_field, table

FILES = table("id", "index", "role", "name", "media_type", "bytes", "seed")

# ---- going on from checkpoints ---------------------------------------------------------------------


@api_command(
    job,
    "continue",
    "atelier job continue ID --steps 2000 --wait",
    "atelier job continue ID --steps 800 --checkpoint 400",
    show=echo_field("id"),
)
@cli_options.id_argument("job")
@click.option("--steps", type=click.IntRange(1), required=True, help="In all, not in addition.")
@click.option(
    "--checkpoint",
    "checkpoint_step",
    type=click.IntRange(0),
    metavar="STEP",
    help="Begin with the checkpoint of this step.  [default: the last]",
)
@cli_options.job_name
@cli_options.idempotency_key
@cli_options.wait
@cli_options.quiet
def go_on(
    api: Client,
    job_id: str,
    steps: int,
    checkpoint_step: int | None,
    name: str | None,
    idempotency_key: str | None,
    wait: bool,
    quiet: bool,
) -> Ended:
    """Let a finished training go on with more steps, as a new job; print its id."""
    made = api.jobs.continue_to(
        job_id,
        steps,
        checkpoint_step=checkpoint_step,
        name=name or "",
        idempotency_key=idempotency_key,
    )
    return new_job(api, made, wait, quiet)


@api_command(
    job,
    "checkpoints",
    "atelier job checkpoints ID",
    show=table("step", "score", "best", "final", "bytes", "created_at"),
)
@cli_options.id_argument("job")
def checkpoints(api: Client, job_id: str) -> list[Checkpoint]:
    """List the checkpoints of a training, the farthest first."""
    return api.jobs.checkpoints(job_id)


@api_command(
    job,
    "make-model",
    "atelier job make-model ID 400 --name 'Letters at 400' --wait",
    show=echo_field("id"),
)
@cli_options.id_argument("job")
@click.argument("step", type=click.IntRange(0))
@cli_options.job_name
@cli_options.idempotency_key
@cli_options.wait
@cli_options.quiet
def make_model(
    api: Client,
    job_id: str,
    step: int,
    name: str | None,
    idempotency_key: str | None,
    wait: bool,
    quiet: bool,
) -> Ended:
    """Make a model of the checkpoint at STEP, as a new job; print its id."""
    made = api.jobs.make_model(job_id, step, name=name or "", idempotency_key=idempotency_key)
    return new_job(api, made, wait, quiet)


# ---- files -----------------------------------------------------------------------------------------


@api_command(job, "previews", "atelier job previews ID", show=FILES)
@cli_options.id_argument("job")
def previews(api: Client, job_id: str) -> list[Artifact]:
    """List what a training drew on its way; `atelier artifact get` downloads one."""
    return api.jobs.previews(job_id)


@api_command(
    job,
    "download",
    "atelier job download ID -o pictures/",
    show=lambda found: click.echo("".join(f"{file['path']}\n" for file in found), nl=False),
    patience=TRANSFER_PATIENCE,
)
@cli_options.id_argument("job")
@cli_options.output_folder
@cli_options.quiet
def download(api: Client, job_id: str, output: Path, quiet: bool) -> list[Object]:
    """Download all that a job made, each checked by its SHA-256; print the paths."""
    output.mkdir(parents=True, exist_ok=True)
    return [_saved(made, output, quiet) for made in api.jobs.artifacts(job_id)]


def _saved(made: Artifact, output: Path, quiet: bool) -> Object:
    with progress(made["name"], quiet) as line:
        return made | {"path": str(made.save(output, line.sent))}


@api_command(
    job,
    "archive",
    "atelier job archive ID -o results.zip",
    show=echo_field("path"),
    patience=TRANSFER_PATIENCE,
)
@cli_options.id_argument("job")
@cli_options.output
@cli_options.quiet
def archive(api: Client, job_id: str, output: Path, quiet: bool) -> Object:
    """Download all that a job made as one zip with manifest.json; print its path."""
    with progress(f"downloading {job_id}", quiet) as line:
        path = api.jobs.archive(job_id, output, line.sent)
    return {"id": job_id, "path": str(path)}


@click.group(cls=Commands)
def artifact() -> None:
    """Files that jobs made."""


@api_command(
    artifact,
    "find",
    "atelier artifact find --media image --starred",
    "atelier artifact find --model ID --tag best --json",
    show=table("id", "name", "family", "visibility", "bytes", "created_at"),
)
@click.option("--shared", is_flag=True, help="What is shared with everybody, not your own.")
@click.option("--media", type=click.Choice(("image", "text")))
@click.option("--family")
@cli_options.id_option("--model", "model", "Made with this model.")
@cli_options.id_option("--job", "job", "Made by this job.")
@click.option("--tag", help="One of your own tags.")
@click.option("--starred", is_flag=True, help="Only those that you starred.")
@click.option(
    "--search", "-q", "q", metavar="TEXT", help="Part of the prompt or label, or your job's name."
)
@cli_options.limit
def find_artifacts(
    api: Client, limit: int, shared: bool, starred: bool, **filters: str | None
) -> list[Artifact]:
    """Find results of all jobs, newest first."""
    whose, stars = "shared" if shared else None, 1 if starred else None
    return api.artifacts.list(limit=limit, whose=whose, starred=stars, **filters)


@api_command(
    artifact,
    "mark",
    "atelier artifact mark ID --star --tag best",
    "atelier artifact mark ID --no-star --untag best",
    show=echo_card,
)
@cli_options.id_argument("artifact")
@click.option("--star/--no-star", "starred", default=None, help="Star it, or no more.")
@click.option("--tag", "add_tags", multiple=True, help="Add a tag; several times for several.")
@click.option("--untag", "remove_tags", multiple=True, help="Take a tag away.")
def mark(
    api: Client,
    artifact_id: str,
    starred: bool | None,
    add_tags: tuple[str, ...],
    remove_tags: tuple[str, ...],
) -> Artifact:
    """Star and tag a result; you alone see it."""
    star = {} if starred is None else {"starred": starred}
    tags = {"add_tags": [*add_tags], "remove_tags": [*remove_tags]}
    return api.artifacts.change(artifact_id, **star, **tags)


@api_command(
    artifact,
    "get",
    "atelier artifact get ID",
    "atelier artifact get ID -o picture.png",
    show=echo_field("path"),
    patience=TRANSFER_PATIENCE,
)
@cli_options.id_argument("artifact")
@cli_options.output
@cli_options.quiet
def get_artifact(api: Client, artifact_id: str, output: Path, quiet: bool) -> Object:
    """Download a file, continue where an earlier try stopped, check its SHA-256; print its path."""
    return _saved(api.artifacts.get(artifact_id), output, quiet)


@api_command(
    artifact,
    "archive",
    "atelier artifact archive ID ID ID -o chosen.zip",
    show=echo_field("path"),
    patience=TRANSFER_PATIENCE,
)
@cli_options.id_argument("artifact", many=True)
@cli_options.output
@cli_options.quiet
def archive_artifacts(
    api: Client, artifact_ids: tuple[str, ...], output: Path, quiet: bool
) -> Object:
    """Download chosen files of any jobs as one zip with manifest.json; print its path."""
    with progress("downloading", quiet) as line:
        path = api.artifacts.archive(artifact_ids, output, line.sent)
    return {"ids": list(artifact_ids), "path": str(path)}


@api_command(artifact, "list", "atelier artifact list JOB", show=FILES)
@cli_options.id_argument("job")
def list_artifacts(api: Client, job_id: str) -> list[Artifact]:
    """List what a job made."""
    return api.jobs.artifacts(job_id)


@api_command(
    artifact,
    "lineage",
    "atelier artifact lineage ID",
    show=lambda found: echo_card(dict(_origins(found))),
)
@cli_options.id_argument("artifact")
def lineage(api: Client, artifact_id: str) -> Object:
    """Show where a file comes from: its job, model, training and dataset, each by id and hash."""
    return api.artifacts.lineage(artifact_id)


def _origins(found: Object) -> Iterable[tuple[str, str]]:
    for what, origin in found.items():
        if origin:
            words = (origin.get(name) for name in ("id", "name", "sha256"))
            yield what, "  ".join(str(word) for word in words if word)


add_show(artifact, "artifact", "Show what is known of a file.")
add_share(artifact, "artifact", "Let everybody here see a result, with how it was made.")
add_delete(artifact, "artifact", "Delete a file.", forced=True)
