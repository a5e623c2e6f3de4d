"""Fault 52: a database whose clock says nothing would make every lease endless: nothing starts on it."""

from __future__ import annotations

import os
import subprocess
import sys

from shared.config import child_environment
from tests.servers import free_port
from tests.work import ROOT

# what `unixepoch('subsec')` was before SQLite 3.42
WITHOUT_CLOCK = """
from sqlalchemy.ext.compiler import compiles
import shared.db

compiles(shared.db._Now, "sqlite")(lambda *_, **options: "NULL")
from web.cli import main

main(["up"])
"""


def test_a_database_without_a_clock_stops_the_start(make_settings, tmp_path):
    settings = make_settings(data=tmp_path / "new", port=free_port())
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CLOCK],
        cwd=ROOT,
        env=child_environment(settings, PYTHONPATH=str(ROOT), PATH=os.environ["PATH"]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode not in (0, None)
    assert "clock cannot be read" in done.stderr
    assert "ready" not in done.stdout
