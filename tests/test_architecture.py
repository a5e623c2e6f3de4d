"""What the import linter cannot see: what is really loaded, and how long files get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODEL_CODE = {"torch", "numpy", "transformers", "tokenizers", "safetensors", "sklearn"}
MOST_LINES = 400


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("web", {"worker", "celery.worker"} | MODEL_CODE),
        ("web.cli", {"worker"} | MODEL_CODE),
        ("shared.jobs", {"web", "worker", "flask"} | MODEL_CODE),
        ("shared.queue", {"web", "worker", "flask"} | MODEL_CODE),
        ("worker.app", {"web", "flask"} | MODEL_CODE),
        ("worker.supervisor", {"web", "flask"} | MODEL_CODE),
        ("worker.runner", {"web", "flask", "sqlalchemy", "celery", "redis"} | MODEL_CODE),
        ("atelier_client", {"web", "worker", "shared"} | MODEL_CODE),
    ],
)
def test_loads_nothing_it_should_not(module, banned):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()
    assert not banned & set(loaded)


def source_files():
    folders = ("shared", "web", "worker", "atelier_client")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_is_for_and_stays_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert not text.strip() or text.startswith('"""')
