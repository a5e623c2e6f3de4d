"""Backups: all of it or a refusal, from either database into either, into a folder or a file, from and to a bucket."""

from __future__ import annotations

import json
import os
import shutil
import tarfile

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, update

import migrations
from shared import jobs, scheduling, short_tasks
from shared.db import Database, clock
from shared.errors import Conflict, DatabaseTooNew
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
from shared.storage import LocalStorage
from tests import oracle
from tests.work import Work
from web.backup import archive, making, restoring
from web.cli import main

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


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
@pytest.mark.parametrize("installation", ["sqlite", "postgresql"], indirect=True)
def test_a_restored_installation_is_the_same(
    installation, migrated, make_settings, restore, tmp_path, to, name
):
    manifest = making.make_backup(installation.settings, tmp_path / name, silent)
    assert manifest["missing"] == []
    making.verify(archive.source_of(tmp_path / name), silent)
    found = restore(migrated(to, make_settings), tmp_path / name)
    assert counts(found.db) == counts(installation.db)
    assert contents(found.storage) == contents(installation.storage)
    upload = found.settings.data / "uploads" / "uploaded"
    assert {path.name: path.read_bytes() for path in upload.iterdir()} == {
        "0": b"raw",
        "names.json": b'["a.txt"]',
    }
    job, before = found.job(installation.running), installation.job(installation.running)
    assert (job.state, job.strikes, job.owner, job.lease_until) == ("queued", 0, None, None)
    assert job.fence > before.fence + 1000 and job.params == before.params
    assert found.events(job.id, "state")[-1].data["why"] == "restored"
    assert found.job(installation.waiting).fence > 1000
    assert found.job(installation.child).waits_for == job.id
    assert found.job(installation.done).fence == installation.job(installation.done).fence
    with found.db.reading() as session:
        assert session.get(BrowserSession, "s" * 64) is None and session.get(Worker, "w") is None
        assert session.get(User, installation.user_id).link_hash is None
        assert session.scalar(select(Invitation.revoked_at)) is not None
        assert session.scalar(select(ApiToken.revoked_at)) is None
        assert session.scalar(select(ShortTask.state)) == "queued"
        assert jobs.newest_checkpoints(session, job.id)[0].step == 5
    oracle.check(found)


def test_a_worker_of_before_cannot_write_any_more(
    installation, migrated, make_settings, restore, tmp_path
):
    making.make_backup(installation.settings, tmp_path / "b", silent)
    found = restore(migrated("sqlite", make_settings), tmp_path / "b")
    offer = scheduling.Offer(
        worker_id="new", lanes=("train",), families={"sleep_steps": 1}, limit=2, lease_seconds=3600
    )
    with found.db.writing() as session:
        claimed = scheduling.claim(session, offer)
    assert {job.id for job in claimed} >= {installation.running}
    with found.db.writing() as session:
        # the fences that the old history had, and those it would have come to
        for fence in range(10):
            assert not jobs.give_back(session, Lease(installation.running, fence), "old")


def test_a_folder_takes_only_what_is_new(installation, tmp_path):
    path = tmp_path / "b"
    first = making.make_backup(installation.settings, path, silent)
    again = making.make_backup(installation.settings, path, silent)
    assert first["copied_bytes"] > 0 and again["copied_bytes"] == 0
    installation._checkpoint(installation.lease, 6)
    blob = next(path.glob("objects/*/*"))
    inode = {p: p.stat().st_ino for p in path.glob("objects/*/*")}
    third = making.make_backup(installation.settings, path, silent)
    assert third["copied_bytes"] == 0  # the same bytes as the first checkpoint's
    assert third["files"]["count"] == first["files"]["count"] + 1
    kept = {p: p.stat().st_ino for p in path.glob("objects/*/*")}
    assert sum(inode.get(p) == n for p, n in kept.items()) > len(kept) / 2 and blob
    assert not (path / "partial").exists()
    # what no row names any more is not kept for ever
    with installation.db.writing() as session:
        for row in session.scalars(select(Checkpoint)):
            session.delete(row)
    making.make_backup(installation.settings, path, silent)
    making.verify(archive.source_of(path), silent)
    assert len(list(path.glob("objects/*/*"))) < len(kept)


def test_two_backups_do_not_fill_one_folder_at_once(installation, tmp_path):
    path = tmp_path / "b"
    making.make_backup(installation.settings, path, silent)
    with archive.target_of(path) as target:
        (target.folder / "file").write_bytes(b"half")
        with pytest.raises(Conflict, match="Another backup"):
            making.make_backup(installation.settings, path, silent)
        assert (target.folder / "file").read_bytes() == b"half"
    making.make_backup(installation.settings, path, silent)
    making.verify(archive.source_of(path), silent)


def test_a_first_backup_that_broke_off_can_be_made_again(installation, tmp_path):
    path = tmp_path / "b"
    with archive.target_of(path) as target:
        (target.folder / "user").write_bytes(b"half")
    making.make_backup(installation.settings, path, silent)
    making.verify(archive.source_of(path), silent)
    assert not (path / "partial").exists()


@pytest.fixture
def open_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("there", [False, True])
def test_a_backup_is_for_its_owner_alone(installation, tmp_path, there):
    """It holds everybody's rows; blobs may be links to stored files, so the folder above them is shut."""
    path, tar = tmp_path / "b", tmp_path / "b.tar"
    if there:
        (path / "objects").mkdir(parents=True)
        tar.write_bytes(b"old")
    making.make_backup(installation.settings, path, silent)
    making.make_backup(installation.settings, tar, silent)
    modes = {
        name: (path / name).stat().st_mode & 0o777 for name in ("", "objects", "manifest.json")
    }
    assert modes == {"": 0o700, "objects": 0o700, "manifest.json": 0o600}
    assert tar.stat().st_mode & 0o777 == 0o600
    tables = archive.source_of(path).manifest["tables"].values()
    blobs = [path / archive.name_of(table["sha256"]) for table in tables]
    assert {blob.stat().st_mode & 0o777 for blob in blobs} == {0o600}
    assert os.umask(0o022) == 0o022


@pytest.mark.parametrize("older", [True, False])
def test_a_job_that_lost_its_newest_checkpoint_begins_where_it_can(
    installation, migrated, make_settings, restore, tmp_path, older
):
    installation._checkpoint(installation.lease, 9)
    with installation.db.reading() as session:
        rows = {row.step: row.location for row in session.scalars(select(Checkpoint))}
    for step in (9,) if older else (5, 9):
        installation.storage.delete(rows[step])
    making.make_backup(installation.settings, tmp_path / "b", silent)
    job = restore(migrated("sqlite", make_settings), tmp_path / "b").job(installation.running)
    assert (job.checkpoint_step, job.progress_step) == ((5, 5) if older else (0, 0))


def test_what_was_lost_before_is_told_and_hidden_afterwards(
    installation, migrated, make_settings, restore, tmp_path
):
    with installation.db.reading() as session:
        gone, damaged = session.scalars(select(Artifact).order_by(Artifact.index)).all()
        checkpoint = session.scalars(select(Checkpoint)).one()
    installation.storage.delete(gone.location)
    installation.storage.path_of(damaged.location).write_bytes(b"other!")
    installation.storage.delete(checkpoint.location)
    manifest = making.make_backup(installation.settings, tmp_path / "b", silent)
    assert {(one["id"], one["why"]) for one in making.damage_of(manifest)} == {
        (gone.id, "gone"),
        (damaged.id, "damaged"),
        (checkpoint.id, "gone"),
    }
    found = restore(migrated("sqlite", make_settings), tmp_path / "b")
    with found.db.reading() as session:
        assert (
            session.get(Artifact, gone.id).deleted_at
            and session.get(Artifact, damaged.id).deleted_at
        )
        assert session.get(Checkpoint, checkpoint.id) is None


def test_a_damaged_item_of_a_dataset_is_seen(installation, tmp_path):
    path = installation.storage.path_of(f"datasets/{installation.dataset_id}/data.bin")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    manifest = making.make_backup(installation.settings, tmp_path / "b", silent)
    assert [one["why"] for one in making.damage_of(manifest)] == ["damaged"]


def test_what_is_deleted_meanwhile_is_no_damage(installation, tmp_path, monkeypatch):
    real = making.named_later

    def then_deleted(connection, tables):
        found = list(real(connection, tables))
        with installation.db.writing() as session:
            row = session.scalars(select(Artifact)).first()
            row.deleted_at = clock(session)
            installation.storage.delete(row.location)
        return found

    monkeypatch.setattr(making, "named_later", then_deleted)
    manifest = making.make_backup(installation.settings, tmp_path / "b", silent)
    assert len(manifest["missing"]) == 1 and making.damage_of(manifest) == []


# ---- refused, and nothing is written -------------------------------------------------------------------


@pytest.fixture
def target(migrated, make_settings):
    """An empty place, which is empty afterwards, too."""
    settings = migrated("sqlite", make_settings)
    yield settings
    left = {path.name for path in settings.data.iterdir()} - {"up.lock", "storage"}
    assert not left and not list(LocalStorage(settings.storage_folder).keys("artifacts"))


def refused(settings, path, match=None, error=archive.BadBackup):
    with pytest.raises(error, match=match):
        restoring.restore(restoring.Restoring(settings, archive.source_of(path)), silent)


@pytest.mark.parametrize("keep", [0, 100, 5000, -1, -600, -12000])
def test_a_file_that_is_cut_short_is_refused(installation, target, tmp_path, keep):
    path = tmp_path / "b.tar"
    making.make_backup(installation.settings, path, silent)
    with path.open("r+b") as file:
        file.truncate(keep if keep >= 0 else path.stat().st_size - 10240 + keep)
    refused(target, path)


@pytest.mark.parametrize("name", ["b", "b.tar"])
def test_any_flipped_bit_is_seen(installation, target, tmp_path, name):
    path = tmp_path / name
    making.make_backup(installation.settings, path, silent)
    if name == "b":
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.name != archive.LOCK]
        places = [(p, p.stat().st_size // 2) for p in files]
    else:
        with tarfile.open(path) as tar:
            places = [(path, one.offset_data + one.size // 2) for one in tar if one.size]
    for file, place in places:
        data = bytearray(file.read_bytes())
        data[place] ^= 4
        file.write_bytes(data)
        with pytest.raises(archive.BadBackup):
            restoring.restore(restoring.Restoring(target, archive.source_of(path)), silent)
        data[place] ^= 4
        file.write_bytes(data)
    making.verify(archive.source_of(path), silent)


def test_a_part_that_is_missing_is_seen(installation, target, tmp_path):
    making.make_backup(installation.settings, tmp_path / "b", silent)
    next((tmp_path / "b").glob("objects/*/*")).unlink()
    refused(target, tmp_path / "b", "missing")


def test_what_is_no_backup_is_refused(target, tmp_path):
    (tmp_path / "text.tar").write_text("hello")
    (tmp_path / "folder").mkdir()
    for name in ("text.tar", "folder", "nothing"):
        with pytest.raises(archive.BadBackup):
            archive.source_of(tmp_path / name)


def test_a_folder_that_holds_other_things_is_left_alone(installation, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(archive.BadBackup, match="not empty"):
        making.make_backup(installation.settings, tmp_path / "b", silent)


def rewrite(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]
    (path / "manifest.json").write_bytes(archive.sealed(manifest | changes))


def test_a_newer_schema_or_form_is_refused(installation, target, tmp_path):
    path = tmp_path / "b"
    making.make_backup(installation.settings, path, silent)
    rewrite(path, revision="9999")
    refused(target, path, "newer", DatabaseTooNew)
    rewrite(path, format=2)
    with pytest.raises(archive.BadBackup):
        archive.source_of(path)


@pytest.mark.parametrize("what", ["rows", "files", "uploads"])
def test_a_target_that_holds_something_is_refused(
    installation, migrated, make_settings, tmp_path, what
):
    making.make_backup(installation.settings, tmp_path / "b", silent)
    settings = migrated("sqlite", make_settings)
    if what == "rows":
        migrations.upgrade(settings.database)
        with Database(settings.database).writing() as session:
            session.add(User(id="eve", name="eve", created_at=0.0))
    elif what == "files":
        LocalStorage(settings.storage_folder).put_bytes("models/m/x", b"mine")
    else:
        (settings.data / "uploads" / "mine").mkdir(parents=True)
    before = sorted(settings.data.rglob("*"))
    refused(settings, tmp_path / "b", error=restoring.NotEmpty)
    assert {p.name for p in settings.data.rglob("*")} - {p.name for p in before} <= {
        "up.lock",
        "storage",
    }


def test_rows_that_came_while_files_were_copied_are_not_dropped(
    installation, migrated, make_settings, tmp_path, monkeypatch
):
    making.make_backup(installation.settings, tmp_path / "b", silent)
    settings = migrated("postgresql", make_settings)
    found = Database(settings.database)

    def slowly(*_):
        migrations.upgrade(settings.database)
        with found.writing() as session:
            session.add(User(id="eve", name="eve", created_at=0.0))

    monkeypatch.setattr(restoring, "_put_files", slowly)
    try:
        refused(settings, tmp_path / "b", error=restoring.NotEmpty)
        with found.reading() as session:
            assert session.get(User, "eve") is not None
    finally:
        found.dispose()


@pytest.mark.parametrize(("name", "taken"), [(".{}.partial", True), (".{}", False)])
def test_a_half_written_file_of_a_restore_is_known_by_its_name(
    installation, migrated, make_settings, restore, tmp_path, name, taken
):
    making.make_backup(installation.settings, tmp_path / "b", silent)
    settings = migrated("sqlite", make_settings)
    key = next(iter(contents(installation.storage)))
    folder, _, file = key.rpartition("/")
    place = settings.data / "storage" / folder / name.format(file)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half")
    if taken:
        restore(settings, tmp_path / "b")
    else:
        refused(settings, tmp_path / "b", error=restoring.NotEmpty)


def test_an_older_schema_is_brought_up_to_date(
    installation, migrated, make_settings, restore, tmp_path
):
    """A backup that was made before an upgrade, as the code after it finds it."""
    migrations.downgrade(installation.settings.database, "0005")
    path = tmp_path / "b"
    assert making.make_backup(installation.settings, path, silent)["revision"] == "0005"
    settings = migrated("postgresql", make_settings)
    found = restore(settings, path)
    assert migrations.status(settings.database) == "current"
    assert contents(found.storage) == contents(installation.storage)
    oracle.check(found)


def test_a_restore_that_broke_off_can_be_made_again(
    installation, migrated, make_settings, restore, tmp_path, monkeypatch
):
    making.make_backup(installation.settings, tmp_path / "b", silent)
    settings = migrated("postgresql", make_settings)
    with monkeypatch.context() as patch:
        patch.setattr(restoring.restored, "job", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restoring.restore(
                restoring.Restoring(settings, archive.source_of(tmp_path / "b")), silent
            )
    found = restore(settings, tmp_path / "b", revoke_tokens=True)
    assert counts(found.db) == counts(installation.db)
    with found.db.reading() as session:
        assert session.scalar(select(ApiToken.revoked_at)) is not None


def test_from_a_folder_into_a_bucket_and_back(
    installation, migrated, make_settings, restore, tmp_path, s3
):
    making.make_backup(installation.settings, tmp_path / "b", silent)
    bucket = migrated("sqlite", make_settings).model_copy(update=s3.settings(f"backup-{new_id()}"))
    found = restore(bucket, tmp_path / "b")
    assert contents(found.storage) == contents(installation.storage)
    assert not list(LocalStorage(bucket.data / "storage").keys("models"))
    manifest = making.make_backup(bucket, tmp_path / "again.tar", silent)
    assert manifest["missing"] == []
    back = restore(migrated("sqlite", make_settings), tmp_path / "again.tar")
    assert contents(back.storage) == contents(installation.storage)


# ---- the command line ----------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_the_commands_say_what_they_did(installation, tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    path, data = tmp_path / "b.tar", installation.settings.data
    made = run("backup", path, "--data", data, "--json")
    assert made.exit_code == 0, made.output
    summary = json.loads(made.output)
    assert summary["files"] > 5 and summary["missing"] == []
    seen = run("backup", "--verify", path)
    assert (seen.exit_code, "rows" in seen.output) == (0, True)
    again = run("restore", path, "--data", data)
    assert again.exit_code == 3 and "holds data" in again.output
    done = run("restore", path, "--data", tmp_path / "new")
    assert done.exit_code == 0, done.output
    os.truncate(path, 20000)
    assert run("backup", "--verify", path).exit_code == 3
    assert run("restore", path, "--data", tmp_path / "other").exit_code == 3
    for stored in [*installation.storage.keys("artifacts")]:
        installation.storage.delete(stored.key)
    assert run("backup", tmp_path / "c.tar", "--data", data).exit_code == 1
    assert run("backup", tmp_path / "d.tar", "--data", tmp_path / "nothing").exit_code == 3
