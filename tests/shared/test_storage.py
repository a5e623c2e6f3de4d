"""The local storage: whole files or none, and only under its own folder."""

from __future__ import annotations

import hashlib

import pytest

from shared import storage as module
from shared.errors import NotFound, StorageFull
from shared.storage import LocalStorage


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "storage")


def test_what_was_put_can_be_read_and_deleted(storage):
    digest, size = storage.put_bytes("artifacts/j/1/0.txt", b"hello")
    assert (digest, size) == (hashlib.sha256(b"hello").hexdigest(), 5)
    with storage.open("artifacts/j/1/0.txt") as file:
        assert file.read() == b"hello"
    assert [key for key, _ in storage.keys("artifacts")] == ["artifacts/j/1/0.txt"]
    assert storage.delete("artifacts/j/1") == 5
    with pytest.raises(NotFound):
        storage.open("artifacts/j/1/0.txt")
    assert storage.delete("artifacts/j/1/0.txt") == 0


@pytest.mark.parametrize(
    "key",
    [
        "../x",
        "artifacts/../../x",
        "/etc/passwd",
        "a/b/../c",
        "artifacts",
        "a//b",
        "a/./b",
        "a/b\0c",
    ],
)
def test_a_key_cannot_leave_the_folder(storage, key):
    with pytest.raises(NotFound):
        storage.put_bytes(key, b"x")


def test_a_stream_that_breaks_leaves_nothing(storage):
    def broken():
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageFull):
        storage.put_stream("artifacts/j/1/0.txt", broken())
    assert list(storage.keys("artifacts")) == []


def test_the_file_is_synced_before_it_gets_its_name(storage, monkeypatch):
    order = []
    real_fsync, real_sync = module.os.fsync, module.sync_folder
    monkeypatch.setattr(module.os, "fsync", lambda fd: (order.append("file"), real_fsync(fd)))

    def sync(folder):
        assert (folder / "0.txt").exists()
        order.append("folder")
        real_sync(folder)

    monkeypatch.setattr(module, "sync_folder", sync)
    storage.put_bytes("artifacts/j/1/0.txt", b"hello")
    assert order[0] == "file"
    assert "folder" in order


def test_files_that_are_settled_together_are_synced_with_their_folders_once(storage, monkeypatch):
    synced = []
    real = module.sync
    monkeypatch.setattr(
        module, "sync", lambda path, flags: synced.append(path.name) or real(path, flags)
    )
    keys = [f"artifacts/j/1/{n}.txt" for n in range(3)]
    for key in keys:
        storage.put_stream(key, [b"x"], durable=False)
    assert synced == []
    storage.settle(keys)
    assert sorted(synced[:3]) == ["0.txt", "1.txt", "2.txt"]
    assert synced[3:] == ["1"]


def test_settling_what_is_not_there_is_told(storage):
    with pytest.raises(FileNotFoundError):
        storage.settle(["artifacts/j/1/0.txt"])


def test_a_disk_that_is_full_at_settling_is_named(storage, monkeypatch):
    storage.put_stream("artifacts/j/1/0.txt", [b"x"], durable=False)

    def full(path, flags):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(StorageFull):
        storage.settle(["artifacts/j/1/0.txt"])
