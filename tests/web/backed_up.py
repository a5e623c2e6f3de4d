"""An installation with something of everything, for tests of backups: made, restored elsewhere, compared."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy import func, select, update

import migrations
from shared import jobs, scheduling, short_tasks
from shared.db import Database, clock
from shared.ids import new_id
from shared.job_records import Lease, NewArtifact, Outcome
from shared.models import (
    ApiToken,
    Artifact,
    BrowserSession,
    Checkpoint,
    Dataset,
    Invitation,
    Job,
    Model,
    ShortTask,
    User,
    Worker,
)
from tests.work import Work
from web.backup import archive, restoring

ANY = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}


def silent(_):
    pass


@pytest.fixture
def migrated(request, postgres, tmp_path_factory):
    """An empty place for an installation: settings without any table."""

    def make(kind, make_settings):
        folder = tmp_path_factory.mktemp("installation")
        url = ""
        if kind == "postgresql":
            name = f"backup_{new_id()}"
            postgres.execute(f"CREATE DATABASE {name}")
            request.addfinalizer(lambda: postgres.execute(f"DROP DATABASE {name} WITH (FORCE)"))
            url = postgres.url(name)
        return make_settings(data=folder, database_url=url)

    return make


class Installation(Work):
    """One with something of everything in it."""

    def __init__(self, settings):
        migrations.upgrade(settings.database)
        super().__init__(settings, Database(settings.database))
        self.done = self.generate(count=2)
        self._finish(self._claim(self.done))
        self.running = self.train(steps=100)
        self.lease = self._claim(self.running)
        self._checkpoint(self.lease, 5)
        self.waiting = self.train(steps=3)
        self.child = self.generate(waits_for=self.running)
        with self.db.writing() as session:
            at = clock(session)
            user = session.get_one(User, self.user_id)
            user.link_hash, user.link_until = "a" * 64, at + 1000
            session.add(
                BrowserSession(
                    id="s" * 64,
                    user_id=user.id,
                    data={},
                    created_at=at,
                    seen_at=at,
                    expires_at=at + 99,
                )
            )
            session.add(Invitation(sha256="i" * 64, uses=3, created_at=at, expires_at=at + 1000))
            session.add(
                ApiToken(user_id=user.id, name="t", prefix="p", sha256="t" * 64, created_at=at)
            )
            session.add(
                Worker(id="w", kind="device", families={}, facts={}, started_at=at, heartbeat_at=at)
            )
            session.add(
                Dataset(
                    id="uploaded",
                    user_id=user.id,
                    name="wörter",
                    state="checking",
                    source="upload",
                    created_at=at,
                )
            )
            short_tasks.add(session, "check_dataset", {"dataset_id": "uploaded"})
            session.execute(update(ShortTask).values(state="running", lease_until=at + 60))
        folder = self.settings.data / "uploads" / "uploaded"
        folder.mkdir(parents=True)
        (folder / "0").write_bytes(b"raw")
        (folder / "names.json").write_text('["a.txt"]')

    def _claim(self, job_id):
        offer = scheduling.Offer(
            worker_id="w",
            lanes=("interactive", "train"),
            families={"sleep_steps": 1},
            limit=1,
            lease_seconds=3600,
        )
        with self.db.writing() as session:
            [job] = scheduling.claim(session, offer)
        assert job.id == job_id
        return Lease(job.id, job.fence)

    def _finish(self, lease):
        made = []
        for index in range(2):
            key = f"artifacts/{lease.job_id}/{lease.fence}/{index}.txt"
            sha256, size = self.storage.put_bytes(key, f"text {index}".encode())
            made.append(
                NewArtifact(
                    index=index,
                    name=f"{index}.txt",
                    media_type="text/plain",
                    bytes=size,
                    sha256=sha256,
                    location=key,
                    seed=1,
                )
            )
        with self.db.writing() as session:
            jobs.succeed(session, lease, Outcome(artifacts=made))

    def _checkpoint(self, lease, step):
        key = f"checkpoints/{lease.job_id}/{lease.fence}/{step}.safetensors"
        sha256, size = self.storage.put_bytes(key, b"state")
        with self.db.writing() as session:
            jobs.add_checkpoint(
                session, lease, step=step, size=size, score=None, location=key, sha256=sha256
            )

    def remove(self):
        self.db.dispose()
        shutil.rmtree(self.settings.data)
        self.settings.data.mkdir()


class Restored:
    """The same, elsewhere."""

    def __init__(self, settings, path, **options):
        from shared.storages import open_storage

        self.settings = settings
        restoring.restore(restoring.Restoring(settings, archive.source_of(path), **options), silent)
        self.db, self.storage = Database(settings.database), open_storage(settings)

    job = Work.job
    events = Work.events


@pytest.fixture
def restore(request):
    def run(settings, path, **options):
        found = Restored(settings, path, **options)
        request.addfinalizer(found.db.dispose)
        return found

    return run


@pytest.fixture
def installation(request, migrated, make_settings):
    made = Installation(migrated(getattr(request, "param", "sqlite"), make_settings))
    yield made
    made.db.dispose()


def counts(db):
    with db.reading() as session:
        return {
            t.__tablename__: session.scalar(select(func.count()).select_from(t))
            for t in (Artifact, Checkpoint, Dataset, Job, Model, User)
        }


def contents(storage):
    found = {}
    for prefix in ("artifacts", "checkpoints", "models", "datasets"):
        for stored in storage.keys(prefix):
            with storage.open(stored.key) as file:
                found[stored.key] = file.read()
    return found
