"""Fault 61 and the ordinary upgrade: old and new workers side by side, a schema that moves on, restarts one by one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from sqlalchemy import select, text

import migrations
from shared.config import child_environment
from shared.db import Database
from shared.ids import new_id
from shared.models import MetricPoint, Worker
from shared.schema import revisions
from tests import oracle
from tests.faults.conftest import Bench
from tests.servers import wait_until
from tests.work import FAMILIES, ROOT

STEPS = 300
NEXT = f"{int(revisions()[-1]) + 1:04}"
NEWER_MIGRATION = f'''
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{NEXT}", "{revisions()[-1]}", None, None


def upgrade():
    with op.batch_alter_table("job") as table:
        table.add_column(sa.Column("of_the_future", sa.Integer()))
'''


def heartbeats(bench, name) -> float:
    with bench.db.reading() as session:
        found = select(Worker.heartbeat_at).where(Worker.id.startswith(name))
        return session.scalar(found) or 0.0


def wait_beats(bench, name, count=3) -> None:
    """Until the worker has looked into SQL so many times more."""
    for _ in range(count):
        seen = heartbeats(bench, name)
        wait_until(lambda seen=seen: heartbeats(bench, name) > seen, 60, f"a heartbeat of {name}")


def steps_of(bench, job) -> list[int]:
    """Every step that was made, as it was reported."""
    with bench.db.reading() as session:
        rows = select(MetricPoint.points).where(MetricPoint.job_id == job)
        return sorted(point[0] for points in session.scalars(rows) for point in points)


def wait_training(bench, name, trainings) -> None:
    """Until that worker is in the middle of one of these."""

    def is_there() -> bool:
        found = [bench.job(job) for job in trainings]
        owned = [job for job in found if (job.owner or "").startswith(name)]
        return any(5 < job.progress_step < STEPS * 2 / 3 for job in owned)

    wait_until(is_there, 90, f"a training on {name}")


@pytest.mark.slow
def test_restarts_one_by_one_under_load_make_no_step_twice(bench):
    trainings: list[str] = []
    generations = [bench.generate(count=2, steps=5) for _ in range(10)]
    workers = {name: bench.worker(name) for name in ("device-0", "device-1")}
    for name, worker in workers.items():
        # one for each worker, however quick the other was
        trainings += [bench.train(steps=STEPS, step_seconds=0.05) for _ in range(2)]
        wait_training(bench, name, trainings)
        generations.append(bench.generate(count=2, steps=5))
        worker.term()
        assert worker.wait(60) == 0
        worker.assert_nothing_left()
        bench.worker(name)
    for job in [*trainings, *generations]:
        found = bench.wait(job, seconds=180)
        assert (found.state, found.strikes, found.losses) == ("succeeded", 0, 0)
    assert sum(bench.job(job).attempt - 1 for job in trainings) >= 1
    for job in trainings:
        assert steps_of(bench, job) == list(range(1, STEPS + 1))


@pytest.fixture
def newer_families(tmp_path):
    """A folder with the second version of a family, and a family that the old workers do not know."""
    folder = tmp_path / "newer"
    folder.mkdir()
    source = (FAMILIES / "sleep_steps.py").read_text()
    assert "version=1," in source
    (folder / "sleep_steps.py").write_text(source.replace("version=1,", "version=2,"))
    newcomer = source.replace('name="sleep_steps"', 'name="newcomer"')
    (folder / "newcomer.py").write_text(newcomer)
    return {"family_path": str(folder), "families": "sleep_steps,newcomer"}


@pytest.mark.slow
def test_workers_of_two_versions_claim_only_what_they_have(bench, newer_families):
    old_jobs = [bench.train(steps=2) for _ in range(3)]
    new_jobs = [bench.train(version=2, steps=2), bench.train("newcomer", steps=2)]
    old = bench.worker("device-old")
    for job in [*old_jobs, bench.train(steps=2)]:
        assert bench.wait(job).state == "succeeded"
    assert {(bench.job(j).state, bench.job(j).attempt) for j in new_jobs} == {("queued", 0)}
    old.term()
    assert old.wait() == 0
    later = bench.train(steps=2)
    bench.worker("device-new", **newer_families)
    for job in [*new_jobs, bench.train(version=2, steps=2)]:
        assert bench.wait(job, seconds=60).state == "succeeded"
    assert (bench.job(later).state, bench.job(later).attempt) == ("queued", 0)
    bench.worker("device-old")
    mixed = [
        *(bench.train(steps=2) for _ in range(2)),
        *(bench.train(version=2, steps=2) for _ in range(2)),
        bench.train("newcomer", steps=2),
    ]
    for job in [later, *mixed]:
        found = bench.wait(job, seconds=60)
        assert (found.state, found.attempt) == ("succeeded", 1)


# ---- the schema moves on


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def migrated_bench(request, make_settings, valkey, tmp_path):
    """A database that the migrations made, as in an installation."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'atelier.db'}"
    else:
        server = request.getfixturevalue("postgres")
        name = f"upgraded_{new_id()}"
        server.execute(f"CREATE DATABASE {name}")
        url = server.url(name)
    migrations.upgrade(url)
    db = Database(url)
    settings = make_settings(
        database_url=url,
        redis_url=valkey.url,
        family_path=str(
            ROOT / "worker" / "chaos" / "families"
        ),  # of real files, which both releases may read
        families="sleep_steps",
    )
    made = Bench(settings, db, valkey)
    yield made
    made.end()
    oracle.check(made, valkey)
    db.dispose()


@pytest.fixture
def newer_release(tmp_path):
    """The code of a release with one more migration."""
    root = tmp_path / "release"
    for package in ("shared", "worker", "web", "migrations", "atelier_client"):
        leave_out = shutil.ignore_patterns("__pycache__", "static")
        shutil.copytree(ROOT / package, root / package, ignore=leave_out)
    (root / "migrations" / "versions" / f"{NEXT}_future.py").write_text(NEWER_MIGRATION)
    return root


def test_an_upgrade_under_a_running_worker_makes_it_give_back_and_a_newer_one_go_on(
    migrated_bench, newer_release
):
    bench = migrated_bench
    job = bench.train(steps=100_000, step_seconds=0.05)
    old = bench.worker("device-old")
    old_cpu = bench.worker("cpu-old", kind="cpu")
    bench.wait_checkpoint(job)
    subprocess.run(
        [sys.executable, "-m", "web.cli", "db", "upgrade"],
        cwd=newer_release,
        env=child_environment(bench.settings) | {"PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
    )
    with bench.db.reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == NEXT
    given_back = bench.wait(job, "queued", seconds=60)
    assert (given_back.strikes, given_back.losses) == (0, 0)
    assert given_back.checkpoint_step > 0
    waiting = bench.generate()
    wait_beats(bench, "device-old")
    found = bench.job(waiting)
    assert (found.state, found.attempt) == ("queued", 0)
    for worker in (old, old_cpu):
        wait_until(lambda w=worker: f"has schema {NEXT}" in w.log.read_text(), 60, "the message")
        lines = [line for line in worker.log.read_text().splitlines() if "claims nothing" in line]
        assert len({json.loads(line)["process"] for line in lines}) == len(lines)
        assert worker.process.poll() is None
    bench.worker("device-new", root=newer_release)
    assert bench.wait(waiting, seconds=90).state == "succeeded"
    bench.wait_checkpoint(job, given_back.checkpoint_step + 1, seconds=90)
    resumed = f"Continues from the checkpoint at step {given_back.checkpoint_step}"
    wait_until(lambda: resumed in bench.log_of(job), 60, "the log to say so")
    bench.cancel(job)
    assert bench.wait(job).state == "cancelled"
