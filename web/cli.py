"""`atelier`: the command line. Commands that run a server work on the data folder; all others go over HTTP."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import click

from shared.config import Settings, read_settings
from shared.log import set_up_logging
from web import cli_account, cli_backup, cli_chaos, cli_options, cli_server
from web.cli_datasets import dataset, upload
from web.cli_frame import EXIT_CODES, Commands, command, examples
from web.cli_jobs import job
from web.cli_models import family, model
from web.cli_output import Object, echo_card, echo_field
from web.cli_results import artifact
from web.cli_users import user
from web.cli_webhooks import webhook
from web.cli_workers import worker

MASK = "********"


@click.group(cls=Commands, epilog=EXIT_CODES)
@click.option(
    "--url",
    envvar="ATELIER_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    help="Address of the server.  [env var: ATELIER_URL]",
)
@click.option("--token", envvar="ATELIER_TOKEN", help="Your API token.  [env var: ATELIER_TOKEN]")
@click.version_option(package_name="atelier")
def main(url: str, token: str | None) -> None:
    """Train generative models and generate with them, on GPUs that a group shares."""


@main.command(epilog=examples("atelier up", "atelier up --port 8080 --data /srv/atelier"))
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 8000]")
@cli_options.data
@click.option("--workers", type=int, help="Device workers.  [default: one for each device]")
def up(host: str | None, port: int | None, data: Path | None, workers: int | None) -> None:
    """Start everything and stay in the foreground.

    Starts the web server, a worker for each device, a worker for short tasks, and Valkey unless
    REDIS_URL is set. Ctrl-C drains: trainings write a checkpoint and continue at the next start.
    """
    # flask and sqlalchemy take a while to import; the commands over HTTP do without
    from web.up import up as start
    from web.welcome import welcome

    settings = read_settings(host=host, port=port, data=data, workers=workers)
    set_up_logging(settings.log_level)
    start(settings, welcome)


@main.group()
def db() -> None:
    """The database of this installation."""


@command(
    db,
    "upgrade",
    "atelier db upgrade --data /srv/atelier",
    "atelier db upgrade --wait 60",
    show=lambda found: click.echo(f"up to date: {found['database']}"),
)
@cli_options.data
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=0.0,
    metavar="SECONDS",
    help="For a database that does not answer yet.",
)
def db_upgrade(data: Path | None, wait: float) -> Object:
    """Bring an empty or older database up to date."""
    from web.data_folder import prepare

    settings = read_settings(data=data)
    prepare(settings, wait)
    return {"database": _without_password(settings.database)}


@command(db, "status", "atelier db status", show=echo_field("status"))
@cli_options.data
def db_status(data: Path | None) -> Object:
    """Print empty, older, current or newer."""
    import migrations

    return {"status": migrations.status(read_settings(data=data).database)}


@command(
    main,
    "config",
    "atelier config",
    "atelier config --json",
    show=lambda found: echo_card({f"ATELIER_{name.upper()}": found[name] for name in found}),
)
@cli_options.data
def config(data: Path | None) -> Object:
    """Show the settings in effect, without their secrets."""
    return _shown(read_settings(data=data))


def _shown(settings: Settings) -> dict[str, object]:
    shown: dict[str, object] = settings.model_dump(mode="json")
    for name in ("secret_key", "metrics_token", "s3_secret_key"):
        shown[name] = MASK if shown[name] else ""
    for name in ("database_url", "redis_url"):
        shown[name] = _without_password(str(shown[name]))
    return shown


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if not parts.password:
        return url
    _, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{MASK}@{place}"))


for group in (user, dataset, upload, job, artifact, model, family, webhook, worker):
    main.add_command(group)
for part in (cli_account, cli_server, cli_backup, cli_chaos):
    part.add_to(main)


if __name__ == "__main__":
    main()
