"""Fault 62: short runs of `atelier chaos`, the soak that people run against a scratch installation."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from shared.ids import new_id
from tests.installation import NOT_PASSED_ON, ROOT

MOST_MADE_AGAIN = 15.0  # per cent of all steps


def chaos(*options: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)}
    command = [sys.executable, "-m", "web.cli", "chaos", *options]
    env = clean | environment
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    return done


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """What `up` migrates itself: its own SQLite file, or a PostgreSQL database without tables."""
    if request.param == "sqlite":
        return []
    server = request.getfixturevalue("postgres")
    name = f"chaos_{new_id()}"
    server.execute(f"CREATE DATABASE {name}")
    return ["--database-url", server.url(name)]


def test_a_short_soak_keeps_its_promises_and_touches_nothing_of_others(tmp_path):
    """The environment is that of an installation which people work with."""
    storage, database = tmp_path / "storage", tmp_path / "people.db"
    kept = storage / "models" / "mine" / "model.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    os.utime(kept, (0, 0))
    (tmp_path / "url").write_text(f"sqlite:///{database}")
    done = chaos(
        *("--minutes", "0.1", "--seed", "11", "--without-torch", "--workers", "2"),
        ATELIER_STORAGE=str(storage),
        ATELIER_S3_ACCESS_KEY="theirs",
        DATABASE_URL_FILE=str(tmp_path / "url"),
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seed 11\n")
    assert_faults_were_met(done.stdout, faults=2, jobs=4)
    assert int(re.search(r"^steps of the test family: (\d+),", done.stdout, re.M)[1]) >= 250
    assert "0 lost, 0 doubled, 0 orphaned, 0 illegal" in done.stdout
    assert [path for path in storage.rglob("*") if path.is_file()] == [kept]
    assert not database.exists()


def assert_faults_were_met(report: str, *, faults: int, jobs: int) -> None:
    """A soak in which nothing happened has shown nothing."""
    assert int(re.search(r"^faults: (\d+) ", report, re.M)[1]) >= faults
    assert int(re.search(r"^jobs: (\d+) accepted", report, re.M)[1]) >= jobs


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = chaos("--data", str(tmp_path))
    assert done.returncode == 2
    assert "no soak has made" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_faults_lose_nothing_and_double_nothing(database):
    done = chaos("--minutes", "2", *database)
    assert done.returncode == 0, done.stderr
    assert "0 lost, 0 doubled, 0 orphaned, 0 illegal" in done.stdout
    assert_faults_were_met(done.stdout, faults=30, jobs=50)
    again = re.search(r"^steps of the test family: .*\(([\d.]+) %\)$", done.stdout, re.M)
    assert float(again[1]) <= MOST_MADE_AGAIN
