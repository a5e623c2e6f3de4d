"""Previews and thumbnails over HTTP and on the page; datasets accepted as they are."""

from __future__ import annotations

import io
import json

import pytest
from sqlalchemy import select

from shared import dataset_preview, packs, thumbnails, uploads
from shared import datasets as places
from shared.models import Dataset, DatasetItem, ShortTask

SMALL, LARGE = thumbnails.JPEG + b"small", thumbnails.JPEG + b"larger"
HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x09\0\0\0\x07\x08\x02\0\0\0"


@pytest.fixture
def ready(studio, alice, tmp_path):
    """A dataset of two pictures as a check leaves it."""
    row = Dataset(id="d" * 26, user_id=alice.user.id, name="pictures", kind="images")
    facts = {"width": 9, "height": 7, "channels": 3, "changes": ["CMYK to RGB"]}
    with packs.PackWriter(tmp_path) as writer:
        for n, small in enumerate((SMALL, b"")):
            writer.add(
                [HEAD + bytes([n])],
                name=f"<b>{n}.webp",
                media_type="image/png",
                facts=facts,
                label="<i>cat",
                thumbnails=(small, LARGE if small else b"", b""),
            )
        pack = writer.finish()
    counted, preview = packs.Facts(), dataset_preview.Preview(2)
    for item, look in packs.looked_at(tmp_path):
        counted.add(item)
        preview.add(item, look)
    found = preview.result()
    for name in (packs.DATA, packs.MANIFEST, thumbnails.DATA, thumbnails.INDEX):
        studio.storage.put_file(places.key_of(row.id, name), tmp_path / name)
    studio.storage.put_bytes(
        places.key_of(row.id, dataset_preview.FILE), json.dumps(found).encode()
    )
    row.state, row.created_at, row.item_count, row.sha256 = "ready", 1.0, 2, pack.sha256
    row.facts, row.problems = counted.result(), places.problems_shape([], found["warnings"])
    fields = [name for name in packs.PackItem.__dataclass_fields__]
    with studio.db.writing() as session:
        session.add(row)
        session.flush()
        for item in packs.verified(tmp_path):
            values = {name: getattr(item, name) for name in fields}
            session.add(DatasetItem(dataset_id=row.id, **values))
    return row.id


def test_a_preview_tells_what_was_counted(alice, ready):
    answer = alice.get(f"/datasets/{ready}/preview")
    assert answer.status_code == 200
    found = answer.json
    assert [sample["n"] for sample in found["samples"]] == [0, 1]
    assert found["labels"] == [{"label": "<i>cat", "items": 2}]
    assert found["channels"] == {"3": 2}
    assert found["sizes"]["width"]["histogram"] == [{"from": 9, "to": 9, "items": 2}]
    assert "2 items were changed: CMYK to RGB." in found["warnings"]
    assert alice.get(f"/datasets/{ready}").json["warnings"] == found["warnings"]
    same = {"If-None-Match": answer.headers["ETag"]}
    assert alice.get(f"/datasets/{ready}/preview", headers=same).status_code == 304


def test_a_thumbnail_is_a_small_jpeg_or_the_small_picture_itself(alice, ready):
    url = f"/datasets/{ready}/items/0/thumbnail"
    small = alice.get(url + "?size=64")
    assert (small.data, small.headers["Content-Type"]) == (SMALL, "image/jpeg")
    assert small.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in small.headers["Content-Security-Policy"]
    assert alice.get(url).data == LARGE
    whole = alice.get(url + "?size=256")
    assert (whole.data, whole.headers["Content-Type"]) == (HEAD + b"\0", "image/png")
    assert alice.get(f"/datasets/{ready}/items/1/thumbnail").data == HEAD + b"\1"
    same = {"If-None-Match": small.headers["ETag"]}
    assert alice.get(url + "?size=64", headers=same).status_code == 304
    assert alice.get(url + "?size=128", headers=same).status_code == 200


@pytest.mark.parametrize("size", ["0", "65", "1e2", "99999999999999999999", "x", ""])
def test_other_sizes_are_refused(alice, ready, size):
    answer = alice.get(f"/datasets/{ready}/items/0/thumbnail?size={size}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/size"


def test_what_is_not_there_has_no_preview(alice, bob, ready, studio):
    for path in ("preview", "items/0/thumbnail"):
        assert bob.get(f"/datasets/{ready}/{path}").status_code == 404
    assert alice.get(f"/datasets/{ready}/items/2/thumbnail").status_code == 404
    with studio.db.writing() as session:
        session.get_one(Dataset, ready).state = "checking"
    for path in ("preview", "items/0/thumbnail"):
        assert alice.get(f"/datasets/{ready}/{path}").status_code == 404


def test_a_dataset_from_before_there_were_previews_still_works(alice, ready, studio, mine):
    for name in (thumbnails.INDEX, dataset_preview.FILE):
        studio.storage.delete(places.key_of(ready, name))
    assert alice.get(f"/datasets/{ready}/preview").status_code == 404
    assert alice.get(f"/datasets/{ready}/items/0/thumbnail").data == HEAD + b"\0"
    assert mine.get(f"/datasets/{ready}").status_code == 200


# ---- accepted as it is -------------------------------------------------------------------------


@pytest.fixture
def refused(alice, studio):
    """An upload that was refused, of which one item is good."""

    def refused(**fields):
        data = {"file": [(io.BytesIO(b"x"), "a.txt"), (io.BytesIO(b"\0"), "b.txt")]} | fields
        dataset_id = alice.post("/datasets", data=data).json["id"]
        with studio.db.writing() as session:
            row = session.get_one(Dataset, dataset_id)
            problem = {"name": "b.txt", "message": "holds a NUL character, so it is no text"}
            row.state = "refused"
            row.problems = places.problems_shape([problem], usable=1)
        return dataset_id

    return refused


def tasks(studio, dataset_id):
    with studio.db.reading() as session:
        found = session.scalars(select(ShortTask).order_by(ShortTask.created_at))
        return [task.arguments for task in found if task.arguments["dataset_id"] == dataset_id]


def test_partial_acceptance_may_be_said_at_once(alice, studio):
    for value, partial in (("1", True), ("true", True), ("0", False), ("", False)):
        data = {"file": [(io.BytesIO(b"x"), "a.txt")], "accept_partial": value}
        made = alice.post("/datasets", data=data).json
        assert tasks(studio, made["id"])[0].get("accept_partial", False) is partial
    data = {"file": [(io.BytesIO(b"x"), "a.txt")], "accept_partial": "maybe"}
    assert alice.post("/datasets", data=data).json["errors"][0]["pointer"] == "/accept_partial"


def test_a_refused_dataset_can_be_accepted_as_it_is_once(alice, studio, refused):
    dataset_id = refused()
    assert alice.get(f"/datasets/{dataset_id}").json["can_accept"] is True
    answer = alice.post(f"/datasets/{dataset_id}/accept")
    assert (answer.status_code, answer.json["state"]) == (202, "checking")
    assert answer.json["can_accept"] is False
    partial = {"dataset_id": dataset_id, "accept_partial": True}
    assert tasks(studio, dataset_id) == [{"dataset_id": dataset_id}, partial]
    assert alice.post(f"/datasets/{dataset_id}/accept").status_code == 409


def test_what_is_not_refused_or_not_kept_cannot_be_accepted(alice, bob, studio, refused, ready):
    dataset_id = refused()
    assert bob.post(f"/datasets/{dataset_id}/accept").status_code == 404
    assert alice.post(f"/datasets/{ready}/accept").status_code == 409
    uploads.discard(uploads.folder_of(studio.settings, dataset_id))
    answer = alice.post(f"/datasets/{dataset_id}/accept")
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert alice.get(f"/datasets/{dataset_id}").json["state"] == "refused"


# ---- the page ----------------------------------------------------------------------------------


def test_the_page_shows_samples_counts_and_warnings(mine, ready):
    page = mine.page(f"/datasets/{ready}")
    pictures = [image["src"] for image in page.all("img")]
    assert pictures == [f"/api/v1/datasets/{ready}/items/{n}/thumbnail" for n in (0, 1)]
    assert "There are only 2 pictures to learn from." in page.words
    assert "<i>cat" in page.words  # escaped
    assert page.all("i") == []


def test_labels_and_sizes_that_differ_are_bars(mine, ready, studio):
    key = places.key_of(ready, dataset_preview.FILE)
    with studio.storage.open(key) as file:
        found = json.load(file)
    found["labels"] = [{"label": "a<b", "items": 3}, {"label": "c", "items": 1}]
    studio.storage.delete(key)
    studio.storage.put_bytes(key, json.dumps(found).encode())
    page = mine.page(f"/datasets/{ready}")
    pictures = [one["aria-label"] for one in page.all("svg") if one.get("class") == "histogram"]
    assert "Items by label: a<b: 3; c: 1" in pictures
    heights = [float(bar["height"]) for bar in page.all("rect", rx="2")]
    assert heights[0] == 3 * heights[1]


def test_long_labels_are_bars_below_each_other(mine, ready, studio):
    key = places.key_of(ready, dataset_preview.FILE)
    with studio.storage.open(key) as file:
        found = json.load(file)
    found["labels"] = [{"label": "a<b and more", "items": 3}, {"label": "c", "items": 1}]
    studio.storage.delete(key)
    studio.storage.put_bytes(key, json.dumps(found).encode())
    page = mine.page(f"/datasets/{ready}")
    bars = {bar["aria-label"]: (bar["value"], bar["max"]) for bar in page.all("progress")}
    assert bars == {"a<b and more": ("3", "3"), "c": ("1", "3")}


def test_the_rest_of_a_refused_dataset_is_used_with_one_button(mine, theirs, refused):
    dataset_id = refused()
    page = mine.page(f"/datasets/{dataset_id}")
    assert "Some of it cannot be used." in page.words
    action = f"/datasets/{dataset_id}/accept"
    assert action in [form.get("action") for form in page.all("form")]
    assert theirs.post(action).status_code == 404
    answer = mine.post(action, page=f"/datasets/{dataset_id}")
    assert answer.headers["Location"] == f"/datasets/{dataset_id}"
    assert "Every file is being looked at" in mine.page(f"/datasets/{dataset_id}").words
    assert mine.post(action).status_code == 409


def test_the_form_offers_to_leave_bad_files_out(mine, alice):
    assert mine.page("/datasets").field("accept_partial")["type"] == "checkbox"
    form = {"name": "n", "accept_partial": "1", "file": (io.BytesIO(b"x"), "a.txt")}
    assert mine.post("/datasets", form).status_code == 303
    form = {"name": "n", "accept_partial": "?", "file": (io.BytesIO(b"x"), "a.txt")}
    assert mine.post("/datasets", form).status_code == 422
