"""Storage in a bucket while the server misbehaves: nothing unverified, nothing half, patience and then words."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import pytest

from shared.errors import NotFound, StorageAway, StorageFull
from shared.object_storage import PART
from shared.storages import open_storage
from tests.proxy import Proxy
from tests.servers import wait_until

KEY = "artifacts/j/1/0.txt"
LARGE = b"0123456789abcdef" * (PART // 16 + 1000)


@pytest.fixture
def storage(s3_settings):
    return open_storage(s3_settings(), patience=2)


def content(storage, key=KEY):
    with storage.open(key) as file:
        return file.read()


def facts(data):
    return hashlib.sha256(data).hexdigest(), len(data)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["one request", "several parts"])
def test_a_busy_server_is_asked_again(storage, s3, data):
    s3.refusals = 2
    assert storage.put_stream(KEY, [data]) == facts(data)
    s3.refusals = 2
    assert content(storage) == data
    s3.refusals = 2
    assert storage.delete(KEY) == len(data)
    assert s3.refusals == 0


def test_a_server_that_stays_away_is_told_after_some_patience(storage, s3):
    storage.put_bytes(KEY, b"x")
    s3.refusals = 10**6
    began = time.monotonic()
    for ask in (
        lambda: storage.put_bytes(KEY, b"y"),
        lambda: storage.open(KEY),
        lambda: list(storage.keys("artifacts")),
        lambda: storage.delete(KEY),
    ):
        with pytest.raises(StorageAway):
            ask()
    assert time.monotonic() - began < 60
    s3.calm()
    assert content(storage) == b"x"


def test_a_slow_server_is_waited_for(storage, s3):
    s3.slow_seconds = 0.5
    assert storage.put_stream(KEY, [LARGE]) == facts(LARGE)


def test_an_answer_whose_etag_is_another_is_believed_only_after_reading_back(storage, s3):
    s3.wrong_etags = 1
    assert storage.put_bytes(KEY, b"hello") == facts(b"hello")
    assert ("GET", f"/atelier/{storage.place.partition('atelier/')[2]}/{KEY}") in s3.requests


def test_what_lies_there_otherwise_than_it_was_sent_is_sent_again(storage, s3):
    s3.wrong_etags, s3.torn = 1, 1
    assert storage.put_bytes(KEY, b"hello") == facts(b"hello")
    assert [method for method, _ in s3.requests].count("PUT") == 2
    assert content(storage) == b"hello"


def test_what_never_arrives_as_it_was_sent_is_refused_and_removed(storage, s3):
    s3.wrong_etags = s3.torn = 10**6
    with pytest.raises(StorageAway):
        storage.put_bytes(KEY, b"hello")
    s3.calm()
    assert list(storage.keys("artifacts")) == []


def test_what_is_gone_when_it_is_read_back_is_sent_again(storage, s3, monkeypatch):
    """As of a proxy that answers and keeps nothing; NotFound would end the job for good."""
    s3.wrong_etags = 1
    real, opened = storage.open, []

    def nothing_there(key):
        opened.append(key)
        if len(opened) == 1:
            raise NotFound()
        return real(key)

    monkeypatch.setattr(storage, "open", nothing_there)
    assert storage.put_bytes(KEY, b"hello") == facts(b"hello")
    assert [method for method, _ in s3.requests].count("PUT") == 2


def test_a_large_stream_that_does_not_arrive_as_sent_is_storage_that_is_away(storage, s3):
    s3.wrong_etags = s3.torn = 1
    with pytest.raises(StorageAway):
        storage.put_stream(KEY, [LARGE])
    assert list(storage.keys("artifacts")) == []


def test_two_that_start_at_once_check_the_bucket_apart(storage, monkeypatch):
    real, checked = storage.put_bytes, []

    def put(key, data):
        answer = real(key, data)
        if not checked:
            checked.append(key)
            storage.check()  # all of it, in the middle of this one
        return answer

    monkeypatch.setattr(storage, "put_bytes", put)
    storage.check()
    assert list(storage.keys("probe")) == []


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["one request", "several parts"])
def test_a_bucket_without_room_is_told_and_holds_nothing(storage, s3, data):
    s3.full = True
    with pytest.raises(StorageFull):
        storage.put_stream(KEY, [data])
    s3.calm()
    assert list(storage.keys("artifacts")) == []


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(storage):
    storage.put_bytes(KEY, b"a" * 300_000)
    with storage.open(KEY) as file:
        assert file.read(10) == b"a" * 10
        storage.put_bytes(KEY, b"b" * 300_000)
        with pytest.raises(StorageAway):
            file.read()


def test_a_line_that_is_cut_in_the_middle_leaves_nothing_unfinished(s3, s3_settings):
    """The connection dies while parts are on their way; what was begun is made again or given up."""
    with Proxy(s3.port) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        storage = open_storage(s3_settings(s3_endpoint=endpoint), patience=5)
        proxy.cut_reply_to(b"uploadId=")
        assert storage.put_stream(KEY, [LARGE]) == facts(LARGE)
        wait_until(lambda: proxy.cuts == 1, what="the cut")
        assert content(storage) == LARGE
        proxy.silence()
        with pytest.raises(StorageAway):
            storage.put_bytes("artifacts/j/1/1.txt", b"perhaps heard")
        proxy.speak()
        assert content(storage) == LARGE


def test_what_cannot_work_is_told_in_words(s3_settings):
    with pytest.raises(StorageAway, match="bucket"):
        open_storage(s3_settings(storage="s3://elsewhere/x"), patience=1).check()


def test_nothing_is_stored_or_found_under_a_key_that_is_none(storage, s3):
    for key in ("../x", "artifacts/../../x", "artifacts", "a//b"):
        for ask in (storage.open, storage.delete, storage.size, storage.local_path):
            with pytest.raises(NotFound):
                ask(key)
        with pytest.raises(NotFound):
            storage.put_bytes(key, b"x")
    assert s3.requests == []


def test_nobody_needs_obstore_who_stores_in_a_folder(tmp_path):
    code = (
        "import sys; from shared.config import Settings; from shared.storages import open_storage;"
        f"open_storage(Settings(data={str(tmp_path)!r}));"
        "assert 'obstore' not in sys.modules and 'shared.object_storage' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
