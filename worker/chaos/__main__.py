"""`python -m worker.chaos`, which people call as `atelier chaos`."""

from __future__ import annotations

import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from shared.config import read_settings
from shared.errors import AppError
from worker.chaos import plan, report, scratch
from worker.chaos.installation import free_port
from worker.chaos.soak import PACE, WORKERS, Soak

BROKEN = 1
USAGE = 2
LAST_SECONDS = 300.0  # for the jobs that are left when the faults are over


EXAMPLES = (
    "\b\nExamples:\n  atelier chaos --minutes 10\n  atelier chaos --seed 7 --data /tmp/scratch"
)


@click.command(name="chaos", epilog=EXAMPLES)
@click.option("--minutes", type=click.FloatRange(0.1, 1440), default=10.0, show_default=True)
@click.option("--seed", type=int, help="Replays the jobs and the faults of an earlier run.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Empty folder to work in.  [default: a temporary one, removed at the end]",
)
@click.option("--database-url", default="", help="Empty database.  [default: SQLite in the folder]")
@click.option("--redis-url", default="", help="Empty Redis.  [default: an embedded Valkey]")
@click.option("--workers", type=click.IntRange(1, 64), default=WORKERS, show_default=True)
@click.option("--lease", type=click.FloatRange(2, 3600), default=PACE["lease_seconds"])
@click.option("--without-torch", is_flag=True, help="Only jobs that sleep, none that train.")
def chaos(
    minutes: float,
    seed: int | None,
    data: Path | None,
    database_url: str,
    redis_url: str,
    workers: int,
    lease: float,
    without_torch: bool,
) -> None:
    """Break an installation at random for some minutes, and see whether it keeps its promises.

    Starts a whole installation in a folder of its own, submits jobs over HTTP and meanwhile kills, stops and drains its
    processes and empties its Redis. At the end every accepted job must have ended once, with one result; what is not
    so is told, and the exit code is 1. It refuses a folder, database or Redis that holds anything else, and reads no
    setting from the environment.
    """
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311 - no secret
    with ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atelier-chaos-")))
        pace = PACE | {"lease_seconds": lease, "workers": workers, "redis_prefix": scratch.PREFIX}
        place = {"data": data, "database_url": database_url, "redis_url": redis_url}
        # Nothing of the environment: it may be that of the installation that people work with.
        settings = read_settings({}, **{**place, **pace, "port": free_port()})
        click.echo(f"seed {seed}")
        planned = plan.make(
            seed, 60 * minutes, lease=lease, real=not without_torch, own_redis=not redis_url
        )
        outcome = Soak(settings, planned, click.echo, LAST_SECONDS).run()
    figures = outcome.figures
    for line in report.lines(planned, figures, outcome.books, outcome.breaker, lease):
        click.echo(line)
    if figures.problems:
        sys.exit(BROKEN)


def main() -> None:
    try:
        chaos(prog_name="atelier chaos")
    except AppError as error:
        click.echo(f"atelier: {error.message}", err=True)
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
