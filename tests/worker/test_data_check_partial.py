"""Uploads of which only a part is good: refused in words and kept for a day, or accepted without the rest."""

from __future__ import annotations

import json

import pytest

from shared import datasets, uploads
from shared.dataset_preview import FILE
from shared.models import Dataset
from tests.worker.checked import row_of
from tests.worker.checking.uploads import archive, picture
from worker.data_check import check_dataset

PART = {"good.txt": b"A good text.", "bad.txt": b"\0"}
REASONS = [{"name": "bad.txt", "message": "holds a NUL character, so it is no text"}]


def preview(storage, row):
    with storage.open(datasets.key_of(row.id, FILE)) as file:
        return json.load(file)


def test_bad_files_are_left_out_when_that_was_said(check):
    row = check(PART, accept_partial=True)
    assert (row.state, row.item_count) == ("ready", 1)
    assert row.problems["files"] == REASONS


def test_otherwise_they_are_reasons_to_refuse_and_the_upload_is_kept(check, storage):
    row = check(PART)
    assert (row.state, row.item_count) == ("refused", 0)
    assert row.problems == {"files": REASONS, "usable": 1}
    assert row.bytes == sum(map(len, PART.values()))  # it is still held
    assert list(storage.keys("datasets")) == []


def test_a_kept_upload_is_checked_again_when_it_is_accepted(db, settings, storage, check):
    row = check(PART)
    check_dataset(settings, db, storage, row.id)  # the same task again changes nothing
    assert uploads.read_names(uploads.folder_of(settings, row.id)) == list(PART)
    with db.writing() as session:
        found = session.get_one(Dataset, row.id)
        found.state, found.problems = "checking", datasets.accepted_shape()
    check_dataset(settings, db, storage, row.id)  # whichever task runs first
    assert row_of(db, row.id).state == "ready"
    assert not uploads.folder_of(settings, row.id).exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestOnOneDatabase:
    def test_nothing_usable_is_refused_all_the_same(self, check):
        row = check({"bad.txt": b"\0"}, accept_partial=True)
        assert (row.state, row.bytes) == ("refused", 0)
        assert row.problems == {"files": [{**REASONS[0]}]}

    @pytest.mark.parametrize(
        ("limit", "words"),
        [
            ("max_items", "more than 1 items"),
            ("max_dataset_characters", "more than 1 characters"),
            ("max_text_bytes", "is larger than 1 bytes"),
        ],
    )
    def test_the_settings_limit_texts(
        self, db, make_settings, database_url, storage, upload, limit, words
    ):
        settings = make_settings(database_url=database_url, **{limit: 1})
        dataset_id = upload({"a.txt": b"one", "b.txt": b"two"})
        check_dataset(settings, db, storage, dataset_id, accept_partial=True)
        row = row_of(db, dataset_id)
        assert row.state == "refused"
        assert words in row.problems["files"][0]["message"]

    @pytest.mark.parametrize(
        ("limit", "words"),
        [
            ("max_image_bytes", "is larger than 9 bytes"),
            ("max_image_pixels", "has more than 9 pixels"),
            ("max_dataset_pixels", "more than 9 pixels"),
        ],
    )
    def test_the_settings_limit_pictures(
        self, db, make_settings, database_url, storage, upload, limit, words
    ):
        settings = make_settings(database_url=database_url, **{limit: 9})
        dataset_id = upload({"a.png": picture()})
        check_dataset(settings, db, storage, dataset_id)
        assert words in row_of(db, dataset_id).problems["files"][0]["message"]

    def test_one_picture_of_one_class_is_taken_with_warnings(self, check):
        row = check({"cats/a.png": picture(), "cats/b.png": picture(size=(3, 3))})
        assert row.state == "ready"
        assert row.problems["warnings"] == [
            "There are only 2 pictures to learn from.",
            "All labels are the same, so there are no classes to tell apart.",
            "The pictures have different sizes; a training makes them one size.",
        ]
        assert check({"a.png": picture()}).problems["warnings"] == [
            "There is only one picture; a model can do little but repeat it."
        ]

    def test_the_preview_is_counted_from_what_was_packed(self, storage, check):
        files = {f"{n % 2}/{n:02}.png": picture("L", colour=n // 3) for n in range(60)}
        row = check({"a.zip": archive(files)})
        found = preview(storage, row)
        assert [sample["n"] for sample in found["samples"]][:3] == [0, 2, 5]
        assert (len(found["samples"]), found["samples"][-1]["n"]) == (24, 59)
        assert found["labels"] == [{"label": "0", "items": 30}, {"label": "1", "items": 30}]
        assert found["channels"] == {"1": 60}
        assert found["duplicates"]["items"] == 40
        assert found["sizes"]["width"] == {
            **{"min": 9, "median": 9, "max": 9},
            "histogram": [{"from": 9, "to": 9, "items": 60}],
        }
        assert found["warnings"] == row.problems["warnings"]

    def test_thumbnails_are_stored_and_count(self, storage, check):
        row = check({"a.png": picture(size=(300, 300))})
        keys = {found.key.rsplit("/", 1)[1] for found in storage.keys("datasets")}
        assert {"thumbnails.bin", "thumbnails.idx", "preview.json"} < keys
        sizes = [
            (storage.root / datasets.key_of(row.id, name)).stat().st_size
            for name in ("data.bin", "thumbnails.bin", "thumbnails.idx")
        ]
        assert row.bytes == sum(sizes)
