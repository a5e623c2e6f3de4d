"""`make demo` with few steps: real data in, results out, nothing left running."""

from __future__ import annotations

import os
import subprocess
import sys

from atelier_client.demo_server import _born, _descendants
from tests.installation import ROOT


def test_the_demo_makes_text_and_pictures_and_leaves_nothing(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ATELIER_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "atelier_client.demo", "--steps", "8"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.suffix for path in (tmp_path / "demo-output").rglob("*.*")}
    assert {".txt", ".png"} <= made
    for part in ("start the server", "train vae", "generate with transformer_lm", "altogether"):
        assert part in done.stdout


def test_descendants_are_known_by_their_time_of_birth():
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        found = _descendants(os.getpid())
        child.kill()
    assert found[child.pid]
    assert _born(child.pid) == ""
