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
