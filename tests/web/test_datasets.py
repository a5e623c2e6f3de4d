"""Datasets over HTTP: uploads and samples, items, sharing, deletion that says what depends, hostile names."""

from __future__ import annotations

import hashlib
import io
import json
import threading

import pytest
from sqlalchemy import select

from shared import datasets as places
from shared import disk, uploads
from shared.models import Dataset, DatasetItem, Quota, ShortTask
from shared.packs import PackWriter
from web import create_app
from web.receiving import Part


def files(*pairs):
    return {"file": [(io.BytesIO(data), name) for name, data in pairs]}


def upload(person, *pairs, **fields):
    return person.post("/datasets", data=fields | files(*pairs))


def waiting_uploads(studio):
    root = uploads.uploads_of(studio.settings)
    folders = root.iterdir() if root.is_dir() else ()
    return [folder.name for folder in folders if folder.name != uploads.INCOMING]


def incoming(studio):
    return list((uploads.uploads_of(studio.settings) / uploads.INCOMING).glob("*"))


@pytest.fixture
def ready(studio, tmp_path):
    """Makes an upload ready, as the cpu worker does (tests/worker/test_data_check.py)."""

    def ready(dataset_id, texts=("One.", "Two words.")):
        folder = tmp_path / "pack"
        folder.mkdir(exist_ok=True)
        rows = []
        with PackWriter(folder) as writer:
            for n, text in enumerate(texts):
                item = writer.add(
                    [text.encode()],
                    name=f"<b>{n}.md",
                    media_type="text/plain",
                    facts={"characters": len(text)},
                    label="a",
                )
                fields = {name: getattr(item, name) for name in item.__dataclass_fields__}
                rows.append(DatasetItem(dataset_id=dataset_id, **fields))
            pack = writer.finish()
        for file in ("data.bin", "manifest.jsonl"):
            studio.storage.put_file(places.key_of(dataset_id, file), folder / file)
        with studio.db.writing() as session:
            row = session.get_one(Dataset, dataset_id)
            row.state, row.kind, row.item_count = "ready", "text", len(texts)
            row.bytes, row.sha256, row.facts = pack.bytes, pack.sha256, {"items": len(texts)}
            session.add_all(rows)
        return dataset_id

    return ready


@pytest.fixture
def made(alice, ready):
    return ready(upload(alice, ("a.txt", b"x")).json["id"])


# ---- in ----------------------------------------------------------------------------------------


def test_an_upload_is_accepted_for_checking(alice, studio):
    answer = upload(alice, ("a.txt", b"One."), ("b.txt", b"Two."), name="Mine", kind="text")
    assert answer.status_code == 202
    made = answer.json
    assert answer.headers["Location"] == f"/api/v1/datasets/{made['id']}"
    assert made | {"id": "", "created_at": ""} == {
        "id": "",
        "name": "Mine",
        "kind": "text",
        "state": "checking",
        "items": 0,
        "bytes": 8,
        "sha256": None,
        "problems": [],
        "warnings": [],
        "can_accept": False,
        "visibility": "private",
        "mine": True,
        "source": "upload",
        "facts": {},
        "note": "",
        "created_at": "",
    }
    assert alice.get(f"/datasets/{made['id']}").json == made
    folder = uploads.folder_of(studio.settings, made["id"])
    assert uploads.read_names(folder) == ["a.txt", "b.txt"]
    assert [uploads.file_of(folder, n).read_bytes() for n in (0, 1)] == [b"One.", b"Two."]
    assert incoming(studio) == []
    with studio.db.reading() as session:
        (task,) = session.scalars(select(ShortTask))
    assert (task.name, task.arguments) == ("check_dataset", {"dataset_id": made["id"]})


@pytest.mark.parametrize("sample", ["digits", "python-docs"])
def test_a_sample_is_accepted_for_checking(alice, sample):
    answer = alice.post("/datasets", json={"sample": sample})
    assert answer.status_code == 202
    assert answer.json["state"] == "checking"
    assert answer.json["source"] == f"sample:{sample}"
    named = alice.post("/datasets", json={"sample": sample, "name": "My own"})
    assert named.json["name"] == "My own"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"sample": "mnist"}, "/sample"),
        ({"sample": "../../etc"}, "/sample"),
        ({"sample": "file:///proc/self/environ"}, "/sample"),
        ({"sample": 5}, "/sample"),
        ({}, "/sample"),
        ({"sample": "digits", "user_id": "x"}, "/user_id"),
        ({"sample": "digits", "state": "ready"}, "/state"),
        ({"sample": "digits", "path": "/etc"}, "/path"),
    ],
)
def test_a_bad_sample_is_refused(alice, body, pointer):
    answer = alice.post("/datasets", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({"name": "x"}, "/file"),
        (files(("a.txt", b"")), "/file"),
        (files(("a.txt", b"x")) | {"kind": "pickles"}, "/kind"),
        (files(("a.txt", b"x")) | {"name": "n" * 201}, "/name"),
        (files(("a.txt", b"x")) | {"visibility": "shared"}, "/visibility"),
        ({"document": (io.BytesIO(b"x"), "a.txt")}, "/document"),
    ],
)
def test_a_bad_upload_is_refused_and_leaves_nothing(alice, studio, data, pointer):
    answer = alice.post("/datasets", data=data, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert waiting_uploads(studio) == []
    assert incoming(studio) == []


def test_a_body_of_another_type_is_refused(alice):
    answer = alice.post("/datasets", data=b"x", content_type="application/x-tar")
    assert answer.status_code == 415


NAMES = [
    "../../etc/passwd",
    "..\\..\\x",
    "C:\\x",
    "/abs",
    "a\0.png",
    "CON",
    "n" * 4096,
    "%2e%2e%2f",
    "%252e",
    "．．／",
    "a\nb.txt",
    "<script>.png",
    "..",
    "names.json",
    "1",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_file_name_is_ever_a_path(alice, studio, name):
    boundary = "b0und"
    shown = name.replace("\\", "\\\\").replace("\n", "%0A").encode()
    body = (
        b'--b0und\r\nContent-Disposition: form-data; name="file"; filename="' + shown + b'"\r\n'
        b'\r\nx\r\n--b0und\r\nContent-Disposition: form-data; name="file"; filename="z"\r\n\r\ny'
        b"\r\n--b0und--\r\n"
    )
    answer = alice.post(
        "/datasets", data=body, content_type=f"multipart/form-data; boundary={boundary}"
    )
    assert answer.status_code in (202, 400, 422)
    if answer.status_code == 202:
        folder = uploads.folder_of(studio.settings, answer.json["id"])
        stored = sorted(path.name for path in folder.iterdir())
        count = len(uploads.read_names(folder))
        assert stored == [*map(str, range(count)), "names.json"]
        shown_name = answer.json["name"]
        assert "/" not in shown_name
        assert "\\" not in shown_name
        assert "\0" not in shown_name
        assert len(shown_name) <= 200


# ---- limits ------------------------------------------------------------------------------------


@pytest.fixture
def small(make_settings, database_url, person):
    app = create_app(
        make_settings(database_url=database_url, max_upload_bytes=100_000, max_body_bytes=2000),
        background=False,
    )
    yield app
    app.extensions["atelier"].close()


def test_an_upload_may_be_larger_than_other_bodies_but_not_than_its_limit(small, alice):
    alice.client = small.test_client()
    assert upload(alice, ("a.txt", b"x" * 50_000)).status_code == 202
    answer = upload(alice, ("a.txt", b"x" * 150_000))
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert alice.post("/datasets", json={"sample": "x" * 3000}).status_code == 413
    assert alice.post("/jobs", json={"name": "x" * 3000}).status_code == 413
    studio = small.extensions["atelier"]
    assert len(waiting_uploads(studio)) == 1
    assert incoming(studio) == []


def test_without_credentials_nothing_is_stored(client, studio):
    answer = client.post("/api/v1/datasets", data=files(("a.txt", b"x" * 100_000)))
    assert answer.status_code == 401
    assert waiting_uploads(studio) == []
    assert incoming(studio) == []


def test_the_quota_of_stored_bytes_holds(alice, studio):
    with studio.db.writing() as session:
        session.get_one(Quota, alice.user.id).max_storage_bytes = 1000
    assert upload(alice, ("a.txt", b"x" * 600)).status_code == 202
    answer = upload(alice, ("a.txt", b"x" * 600))
    assert (answer.status_code, answer.json["code"]) == (409, "quota_exceeded")
    assert len(waiting_uploads(studio)) == 1
    assert alice.get("/me").json["use"]["storage_bytes"] == 600


def test_of_many_uploads_at_once_only_as_many_as_fit_are_taken(alice, studio, app):
    with studio.db.writing() as session:
        session.get_one(Quota, alice.user.id).max_storage_bytes = 1000
    codes = []

    def post():
        headers = {"Authorization": f"Bearer {alice.token}"}
        answer = app.test_client().post(
            "/api/v1/datasets", data=files(("a.txt", b"x" * 600)), headers=headers
        )
        codes.append(answer.status_code)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(codes) == [202] + [409] * 7


def test_a_full_disk_is_said(make_settings, database_url, alice, monkeypatch):
    app = create_app(
        make_settings(database_url=database_url, disk_low_percent=90), background=False
    )
    studio = app.extensions["atelier"]
    monkeypatch.setattr(disk, "usage", lambda _: {"free_percent": 1.0})
    alice.client = app.test_client()
    assert upload(alice, ("a.txt", b"x")).json["code"] == "storage_full"
    assert alice.post("/datasets", json={"sample": "digits"}).status_code == 507
    studio.close()


def test_parts_are_on_disk_and_hold_no_descriptor(tmp_path):
    parts = [Part(tmp_path / "parts") for _ in range(2000)]
    for part in parts:
        part.write(b"some")
        part.write(b"thing")
        part.seek(0)
    assert len(list((tmp_path / "parts").iterdir())) == 2000
    assert parts[7].read() == b"something"
    assert parts[7].move_to(tmp_path / "kept") == 9
    parts[8].close()
    del parts, part
    assert list((tmp_path / "parts").iterdir()) == []
    assert (tmp_path / "kept").read_bytes() == b"something"


# ---- out ---------------------------------------------------------------------------------------


def test_items_come_in_pages(alice, made):
    first = alice.get(f"/datasets/{made}/items?limit=1").json
    assert first["items"][0] == {
        "n": 0,
        "name": "<b>0.md",
        "media_type": "text/plain",
        "bytes": 4,
        "sha256": hashlib.sha256(b"One.").hexdigest(),
        "label": "a",
        "caption": None,
        "facts": {"characters": 4},
    }
    second = alice.get(f"/datasets/{made}/items?limit=1&after={first['next']}").json
    assert [item["n"] for item in second["items"]] == [1]
    assert second["next"] is None
    assert alice.get(f"/datasets/{made}/items?limit=201").status_code == 422
    assert alice.get(f"/datasets/{made}/items?after=x").status_code == 422


def test_the_bytes_of_an_item(alice, made):
    url = f"/datasets/{made}/items/1/content"
    answer = alice.get(url)
    assert answer.data == b"Two words."
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert alice.get(url, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    part = alice.get(url, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.data) == (206, b"word")
    assert alice.get(url + "?inline=1").headers["Content-Disposition"].startswith("inline")
    assert alice.get(f"/datasets/{made}/items/2/content").status_code == 404
    assert alice.get(f"/datasets/{made}/items/..%2f0/content").status_code == 404


def test_nothing_of_a_dataset_is_shown_before_it_is_ready(alice, made, studio):
    with studio.db.writing() as session:
        session.get_one(Dataset, made).state = "checking"
    assert alice.get(f"/datasets/{made}/items").json == {"items": [], "next": None}
    assert alice.get(f"/datasets/{made}/items/0/content").status_code == 404


def test_the_list_is_newest_first_and_ones_own(alice, bob, studio):
    ids = [upload(alice, ("a.txt", b"x")).json["id"] for _ in range(3)]
    upload(bob, ("b.txt", b"x"))
    page = alice.get("/datasets?limit=2").json
    assert [one["id"] for one in page["items"]] == ids[:0:-1]
    rest = alice.get(f"/datasets?after={page['next']}").json
    assert [one["id"] for one in rest["items"]] == ids[:1]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ""),
        ("get", "/items"),
        ("get", "/items/0/content"),
        ("patch", ""),
        ("delete", ""),
        ("delete", "?force=1"),
    ],
)
def test_another_users_dataset_is_not_there(alice, bob, made, method, path):
    options = {"json": {"name": "mine now"}} if method == "patch" else {}
    answer = getattr(bob, method)(f"/datasets/{made}{path}", **options)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert alice.get(f"/datasets/{made}").json["name"] != "mine now"


def test_a_shared_dataset_can_be_read_but_not_changed(alice, bob, made):
    assert alice.patch(f"/datasets/{made}", json={"visibility": "shared"}).status_code == 200
    assert bob.get(f"/datasets/{made}").json["mine"] is False
    assert bob.get(f"/datasets/{made}/items/0/content").data == b"One."
    assert bob.delete(f"/datasets/{made}").status_code == 404
    alice.patch(f"/datasets/{made}", json={"visibility": "private"})
    assert bob.get(f"/datasets/{made}").status_code == 404


def test_a_dataset_can_be_renamed(alice, made):
    assert alice.patch(f"/datasets/{made}", json={"name": "New"}).json["name"] == "New"
    assert alice.patch(f"/datasets/{made}", json={"state": "ready"}).status_code == 422


def test_no_answer_names_a_path(alice, studio):
    text = json.dumps(upload(alice, ("../../x", b"x")).json)
    assert str(studio.settings.data) not in text
