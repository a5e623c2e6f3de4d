"""Backups: all of it, from either database into either, into a folder or a file; for their owner alone."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import select

from shared import jobs, scheduling, webhooks
from shared.db import clock
from shared.errors import Conflict
from shared.job_records import Lease
from shared.models import (
    ApiToken,
    Artifact,
    BrowserSession,
    Checkpoint,
    Invitation,
    OutboxMessage,
    ShortTask,
    User,
    Webhook,
    Worker,
)
from tests import oracle
from tests.web.backed_up import (
    contents,
    counts,
    installation,
    migrated,
    restore,
    silent,
)
from tests.webhook_rows import add_webhook
from web.backup import archive, making

__all__ = ["installation", "migrated", "restore"]


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


def test_what_webhooks_were_still_to_be_told_is_told_by_the_new_installation_alone(
    installation, restore, migrated, make_settings, tmp_path
):
    hook_id = add_webhook(installation.db, installation.user_id)
    with installation.db.writing() as session:
        webhooks.owe_test(session, session.get_one(Webhook, hook_id))
    with installation.db.writing() as session:
        (parcel,) = webhooks.claim(session, webhooks.candidates(session, 8), 3600.0)
    making.make_backup(installation.settings, tmp_path / "b", silent)
    restored = restore(migrated("sqlite", make_settings), tmp_path / "b")
    with restored.db.writing() as session:
        webhooks.settle(session, parcel, webhooks.Reply(204))  # by a sender of before
    with restored.db.reading() as session:
        message = session.get_one(OutboxMessage, parcel.id)
        assert (message.state, message.lease_until) == ("pending", None)
        assert session.get_one(Webhook, hook_id).enabled
    settings = migrated("sqlite", make_settings)
    copied = restore(settings, tmp_path / "b", revoke_tokens=True)  # must not speak for the first
    with copied.db.reading() as session:
        assert not session.get_one(Webhook, hook_id).enabled
        assert webhooks.candidates(session, 8) == []
