"""`atelier dataset` and `atelier upload`: data in, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from atelier_client import Client, Dataset, Upload
from web import cli_options
from web.cli_frame import (
    REFUSED,
    TRANSFER_PATIENCE,
    Commands,
    Ended,
    api_command,
    progress,
)
from web.cli_nouns import add_delete, add_rename, add_share, add_show
from web.cli_output import Object, echo_card, echo_field, echo_table, plain, table


@click.group(cls=Commands)
def dataset() -> None:
    """Data to train on."""


@api_command(
    dataset,
    "add",
    "atelier dataset add texts/ --name Letters",
    "atelier dataset add flowers.zip --kind images --no-wait",
    "atelier dataset add pictures/ --table captions.csv --accept-partial",
    "atelier dataset add letters.zip --continue ID",
    "atelier dataset add --sample digits",
    show=echo_field("id"),
    patience=TRANSFER_PATIENCE,
)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the dataset.  [default: of the first path or the sample]")
@click.option("--sample", help="A built-in sample instead of files: digits, python-docs.")
@click.option("--kind", type=click.Choice(["text", "images"]), help="[default: by content]")
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV or JSON lines that give pictures their labels and captions: file_name, label, caption.",
)
@click.option("--accept-partial", is_flag=True, help="Leave bad files out instead of refusing all.")
@click.option(
    "--resumable/--at-once",
    default=None,
    help="Send it piece by piece, so that a broken connection costs little.  [default: when it is big]",
)
@cli_options.id_option(
    "--continue", "upload", "Go on with an upload that was broken off.", many=True
)
@click.option("--wait/--no-wait", "checked", default=True, help="Wait until it is checked.")
@cli_options.quiet
def add(
    api: Client,
    /,
    paths: tuple[Path, ...],
    sample: str | None,
    tables: tuple[Path, ...],
    checked: bool,
    quiet: bool,
    **how: Any,
) -> Ended:
    """Upload files or folders (names of subfolders become labels) and print the dataset's id.

    Goes on by itself after a broken connection or a restart of the server. A command that was broken off leaves
    what has come for a day: `atelier upload list`, and the same command with --continue ID.
    """
    if bool(paths) == bool(sample):
        raise click.UsageError("Give either PATHS or --sample.")
    if sample:
        made = api.datasets.add(sample=sample, name=how["name"])
    else:
        with progress("uploading", quiet) as line:
            made = api.datasets.add([*paths, *tables], on_progress=line.sent, **how)
    return _checked(api, made, quiet) if checked else Ended(made)


@api_command(
    dataset,
    "accept",
    "atelier dataset accept ID",
    show=echo_field("id"),
)
@cli_options.id_argument("dataset")
@click.option("--wait/--no-wait", "checked", default=True, help="Wait until it is checked.")
@cli_options.quiet
def accept(api: Client, dataset_id: str, checked: bool, quiet: bool) -> Ended:
    """Check a refused dataset again, without its bad files."""
    made = api.datasets.accept(dataset_id)
    return _checked(api, made, quiet) if checked else Ended(made)


def _checked(api: Client, made: Dataset, quiet: bool) -> Ended:
    with progress(f"checking {made['name']}", quiet) as line:
        made = api.datasets.wait(made["id"], on_progress=line.dataset)
    if made["state"] != "refused":
        return Ended(made)
    click.echo(f"atelier: the dataset was refused: {plain(made['name'])}", err=True)
    for problem in made["problems"]:
        words = f"  {plain(problem.get('name', ''))}: {plain(problem.get('message', ''))}"
        click.echo(words, err=True)
    if made["can_accept"]:
        click.echo(f"  without these: atelier dataset accept {made['id']}", err=True)
    return Ended(made, REFUSED)


@api_command(
    dataset,
    "list",
    "atelier dataset list",
    show=table("id", "name", "kind", "state", "items", "bytes", "visibility", "created_at"),
)
def list_datasets(api: Client) -> list[Dataset]:
    """List the datasets that you may use, newest first."""
    return api.datasets.list()


@api_command(
    dataset,
    "items",
    "atelier dataset items ID --limit 20",
    show=table("n", "name", "label", "caption", "media_type", "bytes"),
)
@cli_options.id_argument("dataset")
@cli_options.limit
def dataset_items(api: Client, dataset_id: str, limit: int) -> list[Object]:
    """List what a dataset holds."""
    return api.datasets.items(dataset_id, limit=limit)


@api_command(
    dataset,
    "item",
    "atelier dataset item ID 0 -o first.png",
    show=echo_field("path"),
)
@cli_options.id_argument("dataset")
@click.argument("n", type=click.IntRange(0))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to put it in.",
)
def item(api: Client, dataset_id: str, n: int, output: Path) -> Object:
    """Download one item of a dataset: a picture as PNG, a text as UTF-8; print its path."""
    output.write_bytes(api.datasets.item(dataset_id, n))
    return {"dataset_id": dataset_id, "n": n, "path": str(output)}


@api_command(
    dataset,
    "preview",
    "atelier dataset preview ID",
    "atelier dataset preview ID --json | jq .labels",
    show=lambda found: _echo_preview(found),
)
@cli_options.id_argument("dataset")
def preview(api: Client, dataset_id: str) -> Object:
    """Show what to know of a dataset before it is used: counts, labels, sizes, copies."""
    return api.datasets.preview(dataset_id)


@api_command(
    dataset,
    "download",
    "atelier dataset download ID -o flowers.zip",
    show=echo_field("path"),
    patience=TRANSFER_PATIENCE,
)
@cli_options.id_argument("dataset")
@cli_options.output
@cli_options.quiet
def download(api: Client, dataset_id: str, output: Path, quiet: bool) -> Object:
    """Download the items as a zip, with manifest.jsonl; print its path."""
    with progress(f"downloading {dataset_id}", quiet) as line:
        path = api.datasets.download(dataset_id, output, line.sent)
    return {"id": dataset_id, "path": str(path)}


add_show(dataset, "dataset", "Show one dataset.")
add_rename(dataset, "dataset", "Give a dataset another name.")
add_share(dataset, "dataset", "Let everybody on this server train on a dataset.")
add_delete(dataset, "dataset", "Delete a dataset.", forced=True)


@click.group(cls=Commands)
def upload() -> None:
    """Files that came piece by piece and are not used yet; they count as stored."""


@api_command(
    upload,
    "list",
    "atelier upload list",
    show=table("id", "name", "offset", "length", "created_at", "expires_at"),
)
def list_uploads(api: Client) -> list[Upload]:
    """List unfinished and unused uploads."""
    return api.uploads.list()


add_show(upload, "upload", "Show where an upload stands.")
add_delete(upload, "upload", "Delete an upload; it goes by itself after a day.")


def _echo_preview(found: Object) -> None:
    card = {name: found[name] for name in ("kind", "items", "classes", "unlabelled", "captions")}
    echo_card({**card, **found["sizes"], **found["changes"], "duplicates": found["duplicates"]})
    for warning in found["warnings"]:
        click.echo(f"warning  {plain(str(warning))}")
    _echo_labels(found["labels"])


def _echo_labels(labels: Iterable[Object]) -> None:
    rows = list(labels)
    if rows:
        click.echo()
        echo_table(rows, tuple(rows[0]))
