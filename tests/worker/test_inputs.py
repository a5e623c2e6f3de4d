"""What a job reads: hashed before a runner sees it, linked where it lies here, fetched once from elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from types import SimpleNamespace

import pytest

from shared.errors import BadData, NotFound, StorageAway, StorageFull
from shared.storages import open_storage
from worker import inputs as module
from worker.inputs import Inputs

KEY = "models/m/model.json"
DATA = b"weights" * 1000


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(params=["local", "s3"])
def settings(request):
    make = "make_settings" if request.param == "local" else "s3_settings"
    return request.getfixturevalue(make)()


@pytest.fixture
def storage(settings):
    return open_storage(settings, patience=1)


@pytest.fixture
def inputs(settings, storage):
    return Inputs(settings, storage)


@pytest.fixture
def hashed(monkeypatch):
    seen = []
    real = module.sha256_of
    monkeypatch.setattr(module, "sha256_of", lambda path: seen.append(path) or real(path))
    return seen


def put_pack(storage, texts=(b"one", b"three")):
    lines, offset = [], 0
    for n, data in enumerate(texts):
        facts = {"n": n, "name": f"{n}.txt", "sha256": sha256(data), "media_type": "text/plain"}
        facts |= {"offset": offset, "bytes": len(data), "label": None, "caption": None}
        lines.append(json.dumps(facts | {"characters": len(data)}) + "\n")
        offset += len(data)
    manifest = "".join(lines).encode()
    storage.put_bytes("datasets/d/manifest.jsonl", manifest)
    storage.put_bytes("datasets/d/data.bin", b"".join(texts))
    return sha256(manifest)


def test_a_file_is_taken_and_hashed_once(inputs, storage, hashed, tmp_path):
    storage.put_bytes(KEY, DATA)
    for n in range(3):
        inputs.take(KEY, tmp_path / f"run{n}" / "model.json", sha256(DATA))
        assert (tmp_path / f"run{n}" / "model.json").read_bytes() == DATA
    assert len(hashed) == 1


def test_what_is_gone_or_damaged_is_told(inputs, storage, tmp_path):
    with pytest.raises(NotFound):
        inputs.take(KEY, tmp_path / "a", sha256(DATA))
    storage.put_bytes(KEY, b"other")
    with pytest.raises(BadData):
        inputs.take(KEY, tmp_path / "a", sha256(DATA))
    assert not (tmp_path / "a").exists()


def test_a_pack_is_verified_item_by_item(inputs, storage, tmp_path):
    digest = put_pack(storage)
    inputs.take_pack("datasets/d", tmp_path / "run1", digest)
    assert (tmp_path / "run1" / "data.bin").read_bytes() == b"onethree"


@pytest.mark.parametrize("data", [b"onethrex", b"onethre", b"onethree!"])
def test_a_damaged_pack_reaches_no_runner(inputs, storage, tmp_path, data):
    digest = put_pack(storage)
    storage.put_bytes("datasets/d/data.bin", data)
    with pytest.raises(BadData):
        inputs.take_pack("datasets/d", tmp_path / "run", digest)
    assert not (tmp_path / "run" / "data.bin").exists()


# ---- from a bucket ---------------------------------------------------------------------------------------


@pytest.fixture
def far(s3_settings):
    settings = s3_settings(cache_bytes=3 * len(DATA))
    storage = open_storage(settings, patience=1)
    return settings, storage, Inputs(settings, storage)


def test_a_file_is_fetched_once_for_all_workers_of_a_machine(far, s3, tmp_path):
    settings, storage, inputs = far
    storage.put_bytes(KEY, DATA)
    digest = put_pack(storage)
    for worker in (inputs, inputs, Inputs(settings, storage)):
        s3.requests.clear()
        folder = tmp_path / os.urandom(4).hex()
        worker.take(KEY, folder / "m", sha256(DATA))
        worker.take_pack("datasets/d", folder / "dataset", digest)
    assert s3.requests == []


def test_bytes_that_arrive_damaged_are_fetched_again(far, s3, tmp_path):
    _, storage, inputs = far
    storage.put_bytes(KEY, DATA)
    digest = put_pack(storage)
    s3.torn = 1
    inputs.take(KEY, tmp_path / "m", sha256(DATA))
    assert (tmp_path / "m").read_bytes() == DATA
    s3.torn = 2
    inputs.take_pack("datasets/d", tmp_path / "d", digest)
    assert (tmp_path / "d" / "data.bin").read_bytes() == b"onethree"
    s3.calm()


def test_a_cache_that_was_damaged_is_noticed(far, tmp_path):
    settings, storage, inputs = far
    storage.put_bytes(KEY, DATA)
    inputs.take(KEY, tmp_path / "a", sha256(DATA))
    (tmp_path / "a").unlink()
    (settings.data / "cache" / sha256(DATA)).write_bytes(b"cut short by the power")
    Inputs(settings, storage).take(KEY, tmp_path / "b", sha256(DATA))
    assert (tmp_path / "b").read_bytes() == DATA


def test_the_oldest_go_and_who_has_them_keeps_them(far, tmp_path):
    settings, storage, inputs = far
    for n in range(5):
        data = DATA[:-1] + str(n).encode()
        storage.put_bytes(f"models/{n}/x", data)
        inputs.take(f"models/{n}/x", tmp_path / str(n), sha256(data))
    left = list((settings.data / "cache").iterdir())
    assert len(left) == 3
    assert all((tmp_path / str(n)).read_bytes().endswith(str(n).encode()) for n in range(5))


def test_a_storage_that_is_away_leaves_no_half_file(far, s3, tmp_path):
    settings, storage, inputs = far
    storage.put_bytes(KEY, DATA)
    s3.refusals = 10**6
    with pytest.raises(StorageAway):
        inputs.take(KEY, tmp_path / "m", sha256(DATA))
    s3.calm()
    folder = settings.data / "cache"
    assert not folder.exists() or not list(folder.iterdir())


def test_a_file_that_another_worker_evicts_meanwhile_is_taken(far, tmp_path, monkeypatch):
    settings, storage, inputs = far
    storage.put_bytes(KEY, DATA)
    inputs.take(KEY, tmp_path / "first", sha256(DATA))
    real = module.sha256_of

    def evicted(path):
        shutil.rmtree(settings.data / "cache")
        (settings.data / "cache").mkdir()
        return real(path)

    monkeypatch.setattr(module, "sha256_of", evicted)
    Inputs(settings, storage).take(KEY, tmp_path / "second", sha256(DATA))
    Inputs(settings, storage).take(KEY, tmp_path / "third", sha256(DATA))
    assert (tmp_path / "second").read_bytes() == (tmp_path / "third").read_bytes() == DATA


def test_what_another_worker_is_fetching_stays_and_what_a_dead_one_left_goes(far, tmp_path):
    settings, storage, inputs = far
    folder = settings.data / "cache"
    folder.mkdir()
    for name in ("going.partial", "dead.partial"):
        (folder / name).write_bytes(b"x" * 4 * len(DATA))
    long_ago = time.time() - 2 * module.STALE_SECONDS
    os.utime(folder / "dead.partial", (long_ago, long_ago))
    storage.put_bytes(KEY, DATA)
    inputs.take(KEY, tmp_path / "m", sha256(DATA))
    assert {path.name for path in folder.iterdir()} == {"going.partial", sha256(DATA)}


def take_some(far, tmp_path, count):
    _, storage, inputs = far
    for n in range(count):
        data = DATA[:-1] + str(n).encode()
        storage.put_bytes(f"models/{n}/x", data)
        inputs.take(f"models/{n}/x", tmp_path / str(n), sha256(data))


def test_a_full_disk_costs_the_oldest_files_that_nobody_uses(far, tmp_path, monkeypatch):
    settings, storage, inputs = far
    take_some(far, tmp_path, 2)
    (tmp_path / "1").unlink()  # its job has ended
    folder = settings.data / "cache"
    real = shutil.copyfileobj

    def copy(source, file, length):
        if any(path.stat().st_nlink == 1 and path.suffix == "" for path in folder.iterdir()):
            raise OSError(28, "No space left on device")
        real(source, file, length)

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    storage.put_bytes(KEY, DATA[:1])
    inputs.take(KEY, tmp_path / "m", sha256(DATA[:1]))
    assert sorted(path.stat().st_size for path in folder.iterdir()) == [1, len(DATA)]

    def full(source, file, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    storage.put_bytes(KEY, DATA)
    with pytest.raises(StorageFull):
        inputs.take(KEY, tmp_path / "n", sha256(DATA))


def test_room_is_made_before_the_disk_is_below_its_reserve(far, tmp_path, monkeypatch):
    settings, storage, inputs = far
    take_some(far, tmp_path, 2)
    for n in range(2):
        (tmp_path / str(n)).unlink()
    total = 1000 * len(DATA)
    reserve = int(total * settings.disk_low_percent / 100)
    disk = SimpleNamespace(total=total, free=reserve + 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: disk)
    data = DATA[: len(DATA) // 2]
    storage.put_bytes(KEY, data)
    inputs.take(KEY, tmp_path / "m", sha256(data))
    left = sorted(path.stat().st_size for path in (settings.data / "cache").iterdir())
    assert left == [len(data), len(DATA)]
