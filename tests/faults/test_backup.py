"""A backup while workers are at work, restored elsewhere: everything there goes on from its checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import migrations
from shared.db import Database
from shared.ids import new_id
from shared.models import Artifact
from shared.storages import open_storage
from tests import oracle
from tests.faults.conftest import Bench
from tests.servers import wait_until
from web.backup import archive, making, restoring


@pytest.fixture
def migrated_bench(make_bench, database_url):
    """The tables of these benches are made without migrations; a backup asks for their revision."""
    db = Database(database_url)
    with db.writing() as session:
        connection = session.connection()
        connection.exec_driver_sql(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"
        )
        versions = Path(migrations.__file__).parent / "versions"
        newest = max(path.name[:4] for path in versions.glob("0*.py"))
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{newest}')")
    db.dispose()
    # a backup may take longer than a few of the usual checkpoints stay
    return make_bench(checkpoint_seconds=2)


class Elsewhere(Bench):
    """A restored installation: the same people and jobs, workers of its own."""

    def __init__(self, settings, db, valkey, like) -> None:
        self.settings, self.db, self.valkey, self.workers = settings, db, valkey, []
        self.storage = open_storage(settings)
        self.user_id, self.dataset_id, self.models = like.user_id, like.dataset_id, like.models


def test_a_backup_under_load_goes_on_elsewhere(
    migrated_bench, make_settings, valkey, tmp_path, postgres
):
    bench = migrated_bench
    training = bench.train(steps=600, step_seconds=0.02)
    done = bench.generate(count=2)
    bench.worker()
    bench.wait(done)
    bench.wait_checkpoint(training, 20)
    others = [bench.generate(count=3, step_seconds=0.05) for _ in range(6)]
    wait_until(lambda: any(bench.job(one).state == "running" for one in others), what="load")
    manifest = making.make_backup(bench.settings, tmp_path / "b.tar", lambda _: None)
    assert making.damage_of(manifest) == []
    bench.end()

    name = f"elsewhere_{new_id()}"
    postgres.execute(f"CREATE DATABASE {name}")
    there = make_settings(
        data=tmp_path / "elsewhere",
        database_url=postgres.url(name),
        redis_url=valkey.url,
        family_path=bench.settings.family_path,
        families=bench.settings.families,
    )
    source = archive.source_of(tmp_path / "b.tar")
    restoring.restore(restoring.Restoring(there, source), lambda _: None)
    db = Database(there.database)
    found = Elsewhere(there, db, valkey, bench)
    try:
        job = found.job(training)
        assert (job.state, job.strikes) == ("queued", 0)
        assert job.checkpoint_step >= 20
        found.worker("new-0")
        for one in (training, *others):
            ended = found.wait(one, seconds=90)
            assert (ended.state, ended.strikes, ended.losses) == ("succeeded", 0, 0)
        assert "Continues from the checkpoint at step" in found.log_of(training)
        with db.reading() as session:
            for row in session.query(Artifact).filter_by(job_id=done):
                with found.storage.open(row.location) as file:
                    assert hashlib.sha256(file.read()).hexdigest() == row.sha256
        found.end()
        oracle.check(found, valkey)
    finally:
        found.end()
        db.dispose()
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
