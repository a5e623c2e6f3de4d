"""`python -m worker device|cpu --name NAME`: one Celery worker in the foreground, set up by the environment."""

from __future__ import annotations

import argparse
import re
import sys
import warnings

from celery.exceptions import SecurityWarning

from shared.config import read_settings
from shared.errors import AppError
from shared.log import set_up_logging
from worker.app import WorkerApp

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("kind", choices=("device", "cpu"))
    parser.add_argument("--name", required=True, help="unique on this host, like device-0")
    arguments = parser.parse_args()
    if not NAME.fullmatch(arguments.name):
        parser.error("--name: lower-case letters, digits and hyphens")
    try:
        settings = read_settings()
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    set_up_logging(settings.log_level)
    # It warns of root because of pickle; only JSON is accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    return WorkerApp(settings, arguments.kind, arguments.name).run()


if __name__ == "__main__":
    sys.exit(main())
