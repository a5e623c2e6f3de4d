"""The whole check of a dataset: parent, sandboxed child, storage, rows; crashes and lies in between."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading

import psutil
import pytest
from sqlalchemy import delete, func, select

from shared import datasets, packs, uploads
from shared.config import child_environment
from shared.errors import StorageFull
from shared.models import Dataset, DatasetItem, Quota
from tests.worker.checked import row_of
from tests.worker.checking.uploads import archive, picture
from worker import data_check
from worker.data_check import check_dataset


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setattr(data_check, "EXECUTABLE", "tests.worker.checking.spy")


def items_of(db, dataset_id):
    with db.reading() as session:
        query = select(DatasetItem).where(DatasetItem.dataset_id == dataset_id)
        return session.scalars(query.order_by(DatasetItem.n)).all()


def content(storage, row, item):
    with storage.open(datasets.key_of(row.id, packs.DATA)) as data:
        return packs.Section(data, item.offset, item.bytes).read()


def stored(storage):
    return [found.key for found in storage.keys("datasets")]


PICTURES = archive({f"{name}/{n}.png": picture("L", colour=n) for n in range(3) for name in "ab"})


def test_texts_become_ready(db, storage, check):
    row = check({"a.txt": b"One.\r\n", "b.txt": "中文，测试。".encode("gb18030")})
    assert (row.state, row.kind, row.item_count, row.problems) == (
        "ready",
        "text",
        2,
        {"files": [], "warnings": ["There are only 11 characters to learn from."]},
    )
    assert row.facts == {"items": 2, "characters": 11, "bytes": 23}
    assert row.bytes == 23
    items = items_of(db, row.id)
    assert [item.name for item in items] == ["a.txt", "b.txt"]
    assert [content(storage, row, item) for item in items] == [b"One.\n", "中文，测试。".encode()]


def test_pictures_become_ready_with_their_labels(db, storage, check):
    row = check({"pictures.zip": PICTURES})
    assert (row.state, row.kind) == ("ready", "images")
    assert row.facts["labels"] == ["a", "b"]
    assert row.facts["channels"] == 1
    items = items_of(db, row.id)
    assert [item.label for item in items] == ["a"] * 3 + ["b"] * 3
    assert items[0].facts == {"width": 9, "height": 7, "channels": 1}
    assert content(storage, row, items[5]).startswith(b"\x89PNG")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_digits_sample(db, check):
    row = check(source="sample:digits")
    assert (row.state, row.item_count) == ("ready", 1797)
    assert row.facts == {
        "items": 1797,
        "width_min": 8,
        "width_max": 8,
        "height_min": 8,
        "height_max": 8,
        "channels": 1,
        "labels": list("0123456789"),
        "classes": 10,
        "captions": 0,
    }
    assert len(items_of(db, row.id)) == 1797


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_text_sample(check):
    row = check(source="sample:python-docs", kind="text")
    assert (row.state, row.kind) == ("ready", "text")
    assert row.facts["characters"] > 400_000


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestOnOneDatabase:
    def test_ten_thousand_items(self, db, check):
        row = check({"a.jsonl": b'{"text": "x"}\n' * 10_000})
        assert (row.state, row.item_count) == ("ready", 10_000)
        assert [item.n for item in items_of(db, row.id)] == list(range(10_000))

    def test_the_same_upload_has_the_same_hash(self, check):
        first, second = check({"a.zip": PICTURES}), check({"a.zip": PICTURES})
        assert first.sha256 == second.sha256
        assert first.sha256 != check({"a.txt": b"x"}).sha256

    def test_a_refused_upload_says_why_and_leaves_nothing(self, db, storage, check):
        row = check({"bad.txt": b"\0", "worse.png": b"<svg/>"})
        assert row.state == "refused"
        assert row.problems == {
            "files": [
                {"name": "bad.txt", "message": "holds a NUL character, so it is no text"},
                {
                    "name": "worse.png",
                    "message": "is an SVG drawing; send plain text, JSON lines or CSV",
                },
            ]
        }
        assert row.bytes == 0
        assert items_of(db, row.id) == []
        assert stored(storage) == []

    def test_no_message_holds_a_path(self, settings, check):
        files = {
            "a.zip": archive({"in.zip": PICTURES})[:-1],
            "../../etc/x.png": picture()[:-20],
            "b.csv": b"\xff\xfe",
            "c.jsonl": b"{",
            "d.zip": archive({"../../x": b"x"}),
        }
        row = check(files)
        assert len(row.problems["files"]) == 5
        assert "/tmp" not in json.dumps(row.problems)
        assert str(settings.data) not in json.dumps(row.problems)

    def test_a_pickle_never_runs(self, tmp_path, check):
        canary = tmp_path / "pwned"

        class Canary:
            def __reduce__(self):
                return open, (str(canary), "w")

        data = pickle.dumps(Canary())
        row = check(
            {"a.pt": data, "b.png": data, "c.txt": data, "d.zip": archive({"data.pkl": data})}
        )
        assert row.state == "refused"
        assert len(row.problems["files"]) == 4
        assert not canary.exists()

    def test_a_dataset_larger_than_its_owner_may_hold_is_refused(self, db, user, check):
        with db.writing() as session:
            session.add(Quota(user_id=user.id, max_storage_bytes=3 << 20))
        row = check({"a.zip": archive({"a.txt": b"word " * 900_000})})
        assert row.state == "refused"
        assert "larger than" in row.problems["files"][0]["message"]

    def test_an_upload_that_is_gone_is_refused(self, check):
        assert check().problems["files"][0]["message"].startswith("The upload is gone")

    def test_a_second_run_changes_nothing(self, db, settings, storage, check):
        row = check({"a.txt": b"x"})
        check_dataset(settings, db, storage, row.id)
        assert row_of(db, row.id).sha256 == row.sha256

    def test_a_dataset_without_a_row_is_cleaned_up(self, db, settings, storage, upload):
        dataset_id = upload({"a.txt": b"x"})
        with db.writing() as session:
            session.execute(delete(Dataset))
        check_dataset(settings, db, storage, dataset_id)
        assert not uploads.folder_of(settings, dataset_id).exists()
        assert stored(storage) == []

    def test_two_checks_at_once_do_the_work_once(self, db, settings, storage, upload):
        dataset_id = upload({"a.zip": PICTURES})
        threads = [
            threading.Thread(target=check_dataset, args=(settings, db, storage, dataset_id))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert row_of(db, dataset_id).state == "ready"
        assert len(items_of(db, dataset_id)) == 6

    @pytest.mark.parametrize("gone", [True, False])
    def test_a_dataset_deleted_during_its_check_leaves_nothing(
        self, db, settings, storage, upload, monkeypatch, gone
    ):
        dataset_id = upload({"a.txt": b"x"})
        believed = data_check._believed

        def deleting(work):
            with db.writing() as session:
                if gone:
                    session.execute(delete(Dataset))
                else:
                    session.get(Dataset, dataset_id).deleted_at = 1.0
            return believed(work)

        monkeypatch.setattr(data_check, "_believed", deleting)
        check_dataset(settings, db, storage, dataset_id)
        assert stored(storage) == []
        assert items_of(db, dataset_id) == []

    @pytest.mark.parametrize(
        "point", ["before_publish", "after_files", "before_ready", "after_ready"]
    )
    def test_a_check_killed_anywhere_is_done_by_the_next(
        self, db, settings, storage, upload, point
    ):
        dataset_id, twin = upload({"a.zip": PICTURES}), upload({"a.zip": PICTURES})
        code = (
            "import sys; from shared.config import read_settings; from shared.db import Database;"
            "from shared.storage import LocalStorage; from worker.data_check import check_dataset;"
            "s = read_settings(); check_dataset(s, Database(s.database), LocalStorage(s.storage_folder),"
            "sys.argv[1])"
        )
        environment = child_environment(settings, FAILPOINT=f"check.{point}:kill9")
        killed = subprocess.run([sys.executable, "-c", code, dataset_id], env=environment)
        assert killed.returncode == -9
        for each in (dataset_id, twin):
            check_dataset(settings, db, storage, each)
        assert row_of(db, dataset_id).state == "ready"
        assert row_of(db, dataset_id).sha256 == row_of(db, twin).sha256
        assert len(items_of(db, dataset_id)) == 6
        assert not uploads.folder_of(settings, dataset_id).exists()

    def test_a_child_that_crashes_refuses_the_file_it_looked_at(self, spy, check):
        row = check({"a.txt": b"crash"})
        assert row.problems["files"] == [
            {"name": "a.txt", "message": "could not be checked; it may be damaged"}
        ]

    def test_of_a_child_that_crashes_the_log_has_place_and_class_but_no_words(
        self, spy, check, caplog
    ):
        check({"a.txt": b"quote"})
        assert "canary" not in caplog.text and "cannot read" not in caplog.text
        assert "in main" in caplog.text and "ValueError" in caplog.text

    def test_a_child_that_hangs_is_killed(self, spy, check, monkeypatch, tmp_path):
        monkeypatch.setattr(data_check, "WALL_SECONDS", 2.0)
        pids = []
        unfinished = data_check._unfinished

        def noting(work, status):
            pids.append(int((work / "pid").read_text()))
            return unfinished(work, status)

        monkeypatch.setattr(data_check, "_unfinished", noting)
        row = check({"a.txt": b"hang"})
        assert row.problems["files"][0]["message"] == "takes too long to check"
        assert not psutil.pid_exists(pids[0])

    def test_our_full_disk_is_nobody_elses_fault(self, db, settings, storage, spy, upload):
        dataset_id = upload({"a.txt": b"full"})
        with pytest.raises(StorageFull):
            check_dataset(settings, db, storage, dataset_id)
        assert row_of(db, dataset_id).state == "checking"

    @pytest.mark.parametrize("order", [b"steal", b"html"])
    def test_a_child_that_was_taken_over_is_not_believed(self, storage, spy, check, order):
        row = check({"a.txt": order})
        assert row.state == "refused"
        assert stored(storage) == []

    def test_the_child_sees_nothing_but_its_upload(self, settings, spy, check, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "postgresql://canary")
        monkeypatch.setenv("ATELIER_SECRET_KEY", "canary" * 8)
        assert settings.secret
        notes = []
        unfinished = data_check._unfinished

        def noting(work, status):
            notes.append(json.loads((work / "seen").read_text()))
            return unfinished(work, status)

        monkeypatch.setattr(data_check, "_unfinished", noting)
        check({"a.txt": b"look"})
        (seen,) = notes
        assert not {"DATABASE_URL", "REDIS_URL"} & set(seen["environment"])
        assert not [name for name in seen["environment"] if name.startswith("ATELIER")]
        assert seen["large"] == "OSError"
        if seen["sandbox"]["landlock"] == "on":
            assert [seen[name] for name in ("secret", "passwords", "write")] == [
                "PermissionError"
            ] * 3
        if seen["sandbox"]["seccomp"] == "on":
            assert seen["socket"] == "PermissionError"
            assert seen["fork"] in ("PermissionError", "BlockingIOError")


def test_the_child_loads_neither_settings_nor_a_database():
    code = "import sys, worker.data_check_child; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"sqlalchemy", "celery", "redis", "torch", "numpy", "shared.config"}


def test_the_parent_loads_no_parser():
    code = "import sys, worker.data_check; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"PIL", "charset_normalizer", "torch", "numpy"}


def test_counts_are_those_of_the_database(db, check):
    row = check({"a.txt": b"x"})
    with db.reading() as session:
        counted = select(func.count()).where(DatasetItem.dataset_id == row.id)
        assert session.scalar(counted) == row.item_count == 1
