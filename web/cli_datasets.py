"""`atelier dataset` and `atelier artifact`: bytes in, bytes out."""

from __future__ import annotations

from pathlib import Path

import click

from atelier_client.progress import ProgressLine
from web.cli_frame import (
    REFUSED,
    Commands,
    Object,
    as_json,
    client,
    echo_card,
    echo_json,
    echo_table,
)


@click.group(cls=Commands)
def dataset() -> None:
    """Data to train on."""


@dataset.command("add")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the dataset.  [default: of the first path or the sample]")
@click.option("--sample", help="A built-in sample instead of files: digits, python-docs.")
@click.option("--kind", type=click.Choice(["text", "images"]), help="[default: by content]")
@click.option("--wait/--no-wait", default=True, help="Wait until it is checked.  [default: wait]")
@as_json
@click.pass_context
def add(
    ctx: click.Context,
    paths: tuple[Path, ...],
    name: str | None,
    sample: str | None,
    kind: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Upload files or folders (names of subfolders become labels) and print the dataset's id."""
    if bool(paths) == bool(sample):
        raise click.UsageError("Give either PATHS or --sample.")
    api = client(ctx)
    made = api.datasets.add(paths, sample=sample, name=name, kind=kind)
    if wait:
        line = ProgressLine(f"checking {made['name']}")
        made = api.datasets.wait(made["id"], on_progress=line.dataset)
        line.end()
    if as_json:
        echo_json(made)
    else:
        click.echo(made["id"])
    if made["state"] == "refused":
        _tell_problems(made)
        ctx.exit(REFUSED)


@dataset.command("list")
@as_json
@click.pass_context
def list_datasets(ctx: click.Context, as_json: bool) -> None:
    """List your datasets, newest first."""
    found = client(ctx).datasets.list()
    if as_json:
        echo_json(found)
    else:
        echo_table(found, ("id", "name", "kind", "state", "items", "bytes", "created_at"))


@dataset.command("show")
@click.argument("dataset_id")
@as_json
@click.pass_context
def show_dataset(ctx: click.Context, dataset_id: str, as_json: bool) -> None:
    """Show one dataset."""
    found = client(ctx).datasets.get(dataset_id)
    (echo_json if as_json else echo_card)(found)


@dataset.command("delete")
@click.argument("dataset_id")
@click.option("--force", is_flag=True, help="Also when models depend on it.")
@click.pass_context
def delete_dataset(ctx: click.Context, dataset_id: str, force: bool) -> None:
    """Delete a dataset."""
    client(ctx).datasets.delete(dataset_id, force=force)


@click.group(cls=Commands)
def artifact() -> None:
    """Files that jobs made."""


@artifact.command("get")
@click.argument("artifact_id")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="File, or folder to put it in under its own name.  [default: this folder]",
)
@as_json
@click.pass_context
def get_artifact(ctx: click.Context, artifact_id: str, output: Path, as_json: bool) -> None:
    """Download a file, continue where an earlier try stopped, check its SHA-256; print its path."""
    api = client(ctx)
    line = ProgressLine(f"downloading {artifact_id}")
    path = api.artifacts.download(
        artifact_id, output, lambda done, total: line.show(done / max(total, 1), f"{done} bytes")
    )
    line.end()
    if as_json:
        echo_json(api.artifacts.get(artifact_id) | {"path": str(path)})
    else:
        click.echo(path)


@artifact.command("list")
@click.argument("job_id")
@as_json
@click.pass_context
def list_artifacts(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """List what a job made."""
    found = client(ctx).jobs.artifacts(job_id)
    if as_json:
        echo_json(found)
    else:
        echo_table(found, ("id", "index", "name", "media_type", "bytes", "seed"))


@artifact.command("delete")
@click.argument("artifact_id")
@click.pass_context
def delete_artifact(ctx: click.Context, artifact_id: str) -> None:
    """Delete a file."""
    client(ctx).artifacts.delete(artifact_id)


def _tell_problems(made: Object) -> None:
    """The reason for each file, however the server groups them."""
    problems = made.get("problems") or {}
    files = problems.get("files", []) if isinstance(problems, dict) else problems
    click.echo(f"atelier: the dataset was refused: {made['name']}", err=True)
    for problem in files:
        click.echo(f"  {problem.get('name', '')}: {problem.get('message', '')}", err=True)
