"""`atelier dataset` and `atelier artifact`: bytes in, bytes out."""

from __future__ import annotations

from pathlib import Path

import click

from atelier_client import Artifact, Client, Dataset
from atelier_client.progress import ProgressLine
from web.cli_frame import (
    REFUSED,
    Commands,
    Object,
    api_command,
    as_json,
    client,
    examples,
    force,
    id_argument,
    quiet,
)
from web.cli_output import echo_card, echo_field, echo_json, echo_nothing, plain, table


@click.group(cls=Commands)
def dataset() -> None:
    """Data to train on."""


@dataset.command(
    "add",
    epilog=examples(
        "atelier dataset add texts/ --name Letters",
        "atelier dataset add flowers.zip --kind images --no-wait",
        "atelier dataset add --sample digits",
    ),
)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the dataset.  [default: of the first path or the sample]")
@click.option("--sample", help="A built-in sample instead of files: digits, python-docs.")
@click.option("--kind", type=click.Choice(["text", "images"]), help="[default: by content]")
@click.option("--wait/--no-wait", default=True, help="Wait until it is checked.  [default: wait]")
@quiet
@as_json
@click.pass_context
def add(
    ctx: click.Context,
    paths: tuple[Path, ...],
    name: str | None,
    sample: str | None,
    kind: str | None,
    wait: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Upload files or folders (names of subfolders become labels) and print the dataset's id."""
    if bool(paths) == bool(sample):
        raise click.UsageError("Give either PATHS or --sample.")
    api = client(ctx)
    line = ProgressLine("uploading", quiet=quiet)
    made = api.datasets.add(paths, sample=sample, name=name, kind=kind, on_progress=line.sent)
    if paths:
        line.end()
    if wait:
        line = ProgressLine(f"checking {plain(made['name'])}", quiet=quiet)
        made = api.datasets.wait(made["id"], on_progress=line.dataset)
        line.end()
    if as_json:
        echo_json(made)
    else:
        click.echo(made["id"])
    if made["state"] == "refused":
        _tell_problems(made)
        ctx.exit(REFUSED)


@api_command(
    dataset,
    "list",
    "atelier dataset list",
    show=table("id", "name", "kind", "state", "items", "bytes", "created_at"),
)
def list_datasets(api: Client) -> list[Dataset]:
    """List the datasets that you may use, newest first."""
    return api.datasets.list()


@api_command(dataset, "show", "atelier dataset show ID", show=echo_card)
@id_argument("dataset")
def show_dataset(api: Client, dataset_id: str) -> Dataset:
    """Show one dataset."""
    return api.datasets.get(dataset_id)


@api_command(
    dataset,
    "items",
    "atelier dataset items ID --limit 20",
    show=table("n", "name", "label", "media_type", "bytes"),
)
@id_argument("dataset")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
def dataset_items(api: Client, dataset_id: str, limit: int) -> list[Object]:
    """List what a dataset holds."""
    return api.datasets.items(dataset_id, limit=limit)


@api_command(
    dataset,
    "share",
    "atelier dataset share ID",
    "atelier dataset share ID --off",
    show=echo_field("visibility"),
)
@id_argument("dataset")
@click.option("--off", is_flag=True, help="Share it no more.")
def share_dataset(api: Client, dataset_id: str, off: bool) -> Dataset:
    """Let everybody on this server train on a dataset."""
    return api.datasets.share(dataset_id, not off)


@api_command(dataset, "delete", "atelier dataset delete ID", show=echo_nothing)
@id_argument("dataset")
@force
def delete_dataset(api: Client, dataset_id: str, force: bool) -> Object:
    """Delete a dataset."""
    api.datasets.delete(dataset_id, force=force)
    return {"id": dataset_id, "deleted": True}


@click.group(cls=Commands)
def artifact() -> None:
    """Files that jobs made."""


@api_command(
    artifact,
    "get",
    "atelier artifact get ID",
    "atelier artifact get ID -o picture.png",
    show=echo_field("path"),
    patience=60.0,
)
@id_argument("artifact")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="File, or folder to put it in under its own name.  [default: this folder]",
)
@quiet
def get_artifact(api: Client, artifact_id: str, output: Path, quiet: bool) -> Object:
    """Download a file, continue where an earlier try stopped, check its SHA-256; print its path."""
    found = api.artifacts.get(artifact_id)
    line = ProgressLine(f"downloading {artifact_id}", quiet=quiet)
    path = found.save(output, line.sent)
    line.end()
    return found | {"path": str(path)}


@api_command(
    artifact,
    "list",
    "atelier artifact list JOB",
    show=table("id", "index", "name", "media_type", "bytes", "seed"),
)
@id_argument("job")
def list_artifacts(api: Client, job_id: str) -> list[Artifact]:
    """List what a job made."""
    return api.jobs.artifacts(job_id)


@api_command(artifact, "delete", "atelier artifact delete ID", show=echo_nothing)
@id_argument("artifact")
def delete_artifact(api: Client, artifact_id: str) -> Object:
    """Delete a file."""
    api.artifacts.delete(artifact_id)
    return {"id": artifact_id, "deleted": True}


def _tell_problems(made: Object) -> None:
    """The reason for each file, however the server groups them."""
    problems = made.get("problems") or {}
    files = problems.get("files", []) if isinstance(problems, dict) else problems
    click.echo(f"atelier: the dataset was refused: {plain(made['name'])}", err=True)
    for problem in files:
        click.echo(
            f"  {plain(problem.get('name', ''))}: {plain(problem.get('message', ''))}", err=True
        )
