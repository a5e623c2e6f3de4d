"""Backups that are refused, with nothing written; older ones, broken ones, a bucket, and the command line."""

from __future__ import annotations

import json
import os
import tarfile

import pytest
from click.testing import CliRunner
from sqlalchemy import select

import migrations
from shared.db import Database
from shared.errors import DatabaseTooNew
from shared.ids import new_id
from shared.models import (
    ApiToken,
    User,
)
from shared.storage import LocalStorage
from tests import oracle
from tests.web.backed_up import (
    contents,
    counts,
    installation,
    migrated,
    restore,
    silent,
)
from web.backup import archive, making, restoring
from web.cli import main

__all__ = ["installation", "migrated", "restore"]


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
