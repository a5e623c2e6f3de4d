"""`atelier chaos`: hands over to the workers' package, which web does not import."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import click

from web.cli_frame import examples

PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def add_to(main: click.Group) -> None:
    """Puts the command into the main group."""

    @main.command(
        "chaos",
        context_settings=PASSED_ON,
        add_help_option=False,
        epilog=examples("atelier chaos --minutes 10", "atelier chaos --seed 7 --data /tmp/scratch"),
    )
    @click.argument("options", nargs=-1, type=click.UNPROCESSED)
    def chaos(options: tuple[str, ...]) -> None:
        """Break a scratch installation at random, and see whether it keeps its promises."""
        command = [sys.executable, "-m", "worker.chaos", *options]
        with subprocess.Popen(command) as process:
            while process.poll() is None:
                with suppress(KeyboardInterrupt):  # it has heard that, too, and cleans up
                    process.wait()
        sys.exit(process.returncode if process.returncode >= 0 else 1)
