"""A family file in a folder of ATELIER_FAMILY_PATH gets its conformance tests by existing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SUITE = "tests/worker/families/test_every_family.py"


def new_family(folder: Path, name: str, **changes: str) -> None:
    """The torch-free family of the fault tests, under another name."""
    source = (ROOT / "tests" / "families" / "sleep_steps.py").read_text()
    source = source.replace('name="sleep_steps"', f'name="{name}"').replace("0.01", "0.0")
    for old, new in changes.items():
        assert old in source
        source = source.replace(old, new)
    (folder / f"{name}.py").write_text(source)


def suite(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SUITE, "-k", name],
        cwd=ROOT,
        env={**os.environ, "ATELIER_FAMILY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_file_dropped_into_a_folder_is_tested_like_ours(tmp_path):
    new_family(tmp_path, "brand_new")
    done = suite(tmp_path, "brand_new")
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= 25


def test_a_family_that_breaks_its_promises_does_not_pass(tmp_path):
    # it forgets to keep its model's state, and its outputs depend on who came before
    new_family(
        tmp_path,
        "careless",
        **{
            'self.value, self.seen = state["value"], list(state["seen"])': "pass",
            "{item.seed} {self._model.value!r}": "{item.seed} {slot}",
        },
    )
    done = suite(tmp_path, "careless")
    assert done.returncode == 1
    for claim in ("resumed_from_any_checkpoint", "alone_and_among_strangers"):
        assert re.search(f"FAILED .*{claim}", done.stdout), done.stdout
