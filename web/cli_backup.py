"""`atelier backup` and `atelier restore`: an installation into a file or folder, and back; on the data itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from shared.config import read_settings
from web import cli_options
from web.cli_frame import examples
from web.cli_output import echo_json, in_bytes

DAMAGED = 1


def add_to(main: click.Group) -> None:
    main.add_command(backup)
    main.add_command(restore)


@click.command(
    epilog=examples(
        "atelier backup /mnt/backup/atelier           # a folder; the next time only what is new",
        "atelier backup atelier.tar                   # one file",
        "atelier backup --verify atelier.tar",
    )
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Look through a backup that is there.")
@cli_options.data
@cli_options.quiet
@cli_options.as_json
def backup(path: Path, verify: bool, data: Path | None, quiet: bool, as_json: bool) -> None:
    """Back up the database and every file it names, also while the server runs.

    A PATH that ends in .tar is one file, any other a folder. Ends with 1 if files were lost or damaged before.
    """
    from web.backup import archive, making

    if verify:
        source = archive.source_of(path)
        with _bar("Verifying", source.manifest["files"]["bytes"], quiet or as_json) as progress:
            making.verify(source, progress)
        manifest = source.manifest
    else:
        settings = read_settings(data=data)
        with _bar("Copying", making.bytes_of(settings), quiet or as_json) as progress:
            manifest = making.make_backup(settings, path, progress)
    _show(making.summary_of(manifest), as_json)
    if not verify and making.damage_of(manifest):
        click.get_current_context().exit(DAMAGED)


@click.command(
    epilog=examples(
        "atelier restore /mnt/backup/atelier --data /srv/atelier",
        "DATABASE_URL=postgresql://… atelier restore atelier.tar      # also from SQLite to PostgreSQL",
    )
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--revoke-tokens", is_flag=True, help="No API token is valid any more, and webhooks are off."
)
@cli_options.data
@cli_options.quiet
@cli_options.as_json
def restore(path: Path, revoke_tokens: bool, data: Path | None, quiet: bool, as_json: bool) -> None:
    """Put a backup into an empty installation, which need not be the one that it was made of.

    Everything in it is verified before anything is written. Jobs that ran are queued again and go on from their
    checkpoints; sessions, one-time links and invitations are not valid any more.
    """
    from web.backup import archive, making, restoring

    source = archive.source_of(path)
    wanted = restoring.Restoring(read_settings(data=data), source, revoke_tokens)
    total = 2 * source.manifest["files"]["bytes"]  # verified, then written
    with _bar("Restoring", total, quiet or as_json) as progress:
        manifest = restoring.restore(wanted, progress)
    _show(making.summary_of(manifest), as_json)


@contextmanager
def _bar(label: str, total: int, silent: bool) -> Iterator[Callable[[int], None]]:
    if silent or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=max(total, 1), label=label, file=sys.stderr) as bar:
        yield bar.update


def _show(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(summary)
        return
    copied = summary["copied_bytes"]
    new = f" ({in_bytes(copied)} of them new)" if copied is not None else ""
    click.echo(
        f"{summary['rows']:,} rows, {summary['files']:,} files with {in_bytes(summary['bytes'])}{new}"
    )
    for one in summary["missing"]:
        click.echo(f"{one['why']}: {one['table']} {one['id']} ({one['key']})", err=True)
