"""Every kind of storage: whole files or none, with the hash of what lies there, and nothing outside it."""

from __future__ import annotations

import hashlib
import os

import pytest

from shared import storage as module
from shared.errors import NotFound, StorageFull
from shared.object_storage import PART
from shared.storage import LocalStorage
from shared.storages import open_storage

KEY = "artifacts/j/1/0.txt"


@pytest.fixture
def local(tmp_path):
    return LocalStorage(tmp_path / "storage")


@pytest.fixture(params=["local", "s3"])
def storage(request):
    if request.param == "local":
        return request.getfixturevalue("local")
    return open_storage(request.getfixturevalue("s3_settings")(), patience=2)


def names(storage, prefix="artifacts"):
    return [found.key for found in storage.keys(prefix)]


def test_what_was_put_can_be_read_and_deleted(storage):
    digest, size = storage.put_bytes(KEY, b"hello")
    assert (digest, size) == (hashlib.sha256(b"hello").hexdigest(), 5)
    with storage.open(KEY) as file:
        assert file.read() == b"hello"
    [found] = storage.keys("artifacts")
    assert (found.key, found.bytes, storage.size(KEY)) == (KEY, 5, 5)
    assert storage.delete("artifacts/j/1") == 5
    for ask in (storage.open, storage.size):
        with pytest.raises(NotFound):
            ask(KEY)
    assert storage.delete(KEY) == 0


def test_an_empty_file_is_a_file(storage):
    assert storage.put_bytes(KEY, b"") == (hashlib.sha256(b"").hexdigest(), 0)
    with storage.open(KEY) as file:
        assert file.read() == b""
    assert storage.size(KEY) == 0


def test_a_prefix_takes_whole_names_only(storage):
    for key in ("artifacts/j/1/a", "artifacts/j/10/a", "artifacts/j2/1/a"):
        storage.put_bytes(key, b"x")
    assert names(storage, "artifacts/j/1") == ["artifacts/j/1/a"]
    assert storage.delete("artifacts/j") == 2
    assert names(storage) == ["artifacts/j2/1/a"]


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART + 12345])
def test_a_large_file_is_read_from_any_place(storage, size, tmp_path):
    data = os.urandom(1 << 16) * (size // (1 << 16) + 1)
    data = data[:size]
    source = tmp_path / "source"
    source.write_bytes(data)
    assert storage.put_file(KEY, source) == (hashlib.sha256(data).hexdigest(), size)
    with storage.open(KEY) as file:
        for place in (size - 10, 70_000, 0, size // 2):
            file.seek(place)
            assert file.read(100_000) == data[place : place + 100_000]
        assert file.seek(-5, os.SEEK_END) == size - 5
        assert file.read() == data[-5:]
        file.seek(0)
        assert file.read() == data


def test_what_is_put_again_takes_the_place_of_the_first(storage):
    storage.put_bytes(KEY, b"first")
    storage.put_bytes(KEY, b"second")
    with storage.open(KEY) as file:
        assert file.read() == b"second"


@pytest.mark.parametrize("before", [10, PART + 10])
def test_a_stream_that_breaks_leaves_nothing(storage, before):
    def broken():
        yield bytes(before)
        raise ValueError("the runner is gone")

    with pytest.raises(ValueError, match="gone"):
        storage.put_stream(KEY, broken())
    assert names(storage) == []


def test_a_storage_that_works_is_told(storage):
    storage.check()
    assert names(storage, "probe") == []


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


# ---- a folder of this machine --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [28, 122])
def test_a_full_disk_or_a_used_up_quota_is_named_and_leaves_nothing(local, number):
    def broken():
        yield b"half"
        raise OSError(number, "no room")

    with pytest.raises(StorageFull):
        local.put_stream(KEY, broken())
    assert names(local) == []


@pytest.fixture
def synced(local, monkeypatch):
    """The paths of what was synced, in order, and whether the file had its name by then."""
    order = []
    real = os.fsync

    def fsync(handle):
        path = os.readlink(f"/proc/self/fd/{handle}")
        order.append((path.removeprefix(f"{local.root.parent}/"), local.path_of(KEY).exists()))
        real(handle)

    monkeypatch.setattr(module.os, "fsync", fsync)
    return order


def test_the_file_is_synced_before_it_gets_its_name_and_the_folders_after(local, synced):
    local.put_bytes(KEY, b"hello")
    assert synced == [
        ("storage/artifacts/j/1/.0.txt.partial", False),
        ("storage/artifacts/j/1", True),
        ("storage", True),
        ("storage/artifacts", True),
        ("storage/artifacts/j", True),
    ]
    synced.clear()
    local.put_bytes("artifacts/j/1/1.txt", b"hello")
    assert [path for path, _ in synced] == [
        "storage/artifacts/j/1/.1.txt.partial",
        "storage/artifacts/j/1",
    ]


def test_files_that_are_settled_together_are_synced_with_their_folders_once(local, synced):
    keys = [f"artifacts/j/1/{n}.txt" for n in range(3)]
    for key in keys:
        local.put_stream(key, [b"x"], durable=False)
    assert synced == []
    local.settle(keys)
    paths = [path for path, _ in synced]
    assert sorted(paths[:3]) == [f"storage/{key}" for key in keys]
    folders = ["storage", "storage/artifacts", "storage/artifacts/j", "storage/artifacts/j/1"]
    assert sorted(paths[3:]) == folders


def test_a_half_written_file_can_be_found_and_deleted(local):
    local.put_bytes(KEY, b"data")
    local.path_of(KEY).rename(local.path_of(KEY).with_name(".0.txt.partial"))
    assert names(local) == ["artifacts/j/1/.0.txt.partial"]
    assert local.delete("artifacts/j/1/.0.txt.partial") == 4
    for key in ("artifacts/../.x.partial", "../.x.partial", "artifacts/j/.../.x.partial"):
        with pytest.raises(NotFound):
            local.delete(key)


def test_settling_what_is_not_there_is_told(local):
    with pytest.raises(FileNotFoundError):
        local.settle(["artifacts/j/1/0.txt"])


def test_a_disk_that_is_full_at_settling_is_named(local, monkeypatch):
    local.put_stream("artifacts/j/1/0.txt", [b"x"], durable=False)

    def full(path, flags):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(StorageFull):
        local.settle(["artifacts/j/1/0.txt"])
