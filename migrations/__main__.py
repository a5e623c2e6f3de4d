"""`python -m migrations make "what changed"` writes the next migration; see `make migration`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import migrations

USAGE = 'python -m migrations make "what changed"'


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "make" or not arguments[1].strip():
        print(f"Usage: {USAGE}", file=sys.stderr)  # noqa: T201  a command talks to people
        return 2
    with tempfile.TemporaryDirectory() as folder:
        path = migrations.make(arguments[1].strip(), f"sqlite:///{Path(folder) / 'now.db'}")
    print(path)  # noqa: T201  a command talks to people
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
