"""Resumable uploads: every byte that was counted is on disk, one writer at a time, one's own only, not for ever."""

from __future__ import annotations

import base64
import threading

import pytest
from sqlalchemy import select

from shared import disk
from shared import uploads as places
from shared.errors import StorageFull
from shared.models import Dataset, Quota, ShortTask, Upload
from web import create_app
from web.services import uploads

TUS = {"Tus-Resumable": "1.0.0"}
BOTH = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request):
    """SQLite, and PostgreSQL where a test asks for both."""
    name = getattr(request, "param", "sqlite")
    return request.getfixturevalue("sqlite_url" if name == "sqlite" else "postgres_url")


def start(person, length, name="a.txt", **headers):
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    given = TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata} | headers
    return person.post("/uploads", headers=given)


def begun(person, length, name="a.txt"):
    answer = start(person, length, name)
    assert answer.status_code == 201
    return answer.json["id"]


def send(person, upload_id, offset, data, **headers):
    given = TUS | {"Upload-Offset": str(offset)} | headers
    given.setdefault("Content-Type", "application/offset+octet-stream")
    return person.patch(f"/uploads/{upload_id}", data=data, headers=given)


def offset_of(person, upload_id):
    return int(person.head(f"/uploads/{upload_id}", headers=TUS).headers["Upload-Offset"])


def file_of(studio, upload_id):
    return places.resumable_of(studio.settings, upload_id)


def sent(person, data, name="a.txt"):
    upload_id = begun(person, len(data), name)
    assert send(person, upload_id, 0, data).status_code == 204
    return upload_id


# ---- the protocol ------------------------------------------------------------------------------


@BOTH
def test_a_file_comes_in_pieces(alice, studio):
    answer = start(alice, 11, "päper.txt")
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/v1/uploads/{answer.json['id']}"
    assert answer.headers["Upload-Expires"].endswith("GMT")
    upload_id = answer.json["id"]
    first = send(alice, upload_id, 0, b"Hello ")
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "6")
    assert first.headers["Tus-Resumable"] == "1.0.0"
    head = alice.head(f"/uploads/{upload_id}", headers=TUS)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("6", "11")
    assert head.headers["Cache-Control"] == "no-store"
    assert head.data == b""
    assert send(alice, upload_id, 6, b"world").headers["Upload-Offset"] == "11"
    assert file_of(studio, upload_id).read_bytes() == b"Hello world"
    shown = alice.get(f"/uploads/{upload_id}").json
    assert (shown["name"], shown["offset"], shown["length"]) == ("päper.txt", 11, 11)
    assert [one["id"] for one in alice.get("/uploads").json["items"]] == [upload_id]


def test_the_server_says_what_it_can(alice, studio):
    answer = alice.options("/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Extension"] == "creation,termination,expiration"
    assert answer.headers["Tus-Max-Size"] == str(studio.settings.max_upload_bytes)


@pytest.mark.parametrize("offset", [0, 5, 7, 10**15])
def test_a_wrong_offset_is_a_conflict_and_changes_nothing(alice, studio, offset):
    upload_id = begun(alice, 20)
    send(alice, upload_id, 0, b"Hello ")
    answer = send(alice, upload_id, offset, b"XXXX")
    assert (answer.status_code, answer.json["code"]) == (409, "offset_mismatch")
    assert offset_of(alice, upload_id) == 6
    assert file_of(studio, upload_id).read_bytes() == b"Hello "


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Tus-Resumable": ""}, 412),
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Upload-Offset": "-1"}, 422),
        ({"Upload-Offset": "1e3"}, 422),
        ({"Upload-Offset": ""}, 422),
        ({"Upload-Offset": "9" * 30}, 422),
    ],
)
def test_a_piece_that_is_not_as_the_protocol_says_is_refused(alice, headers, status):
    upload_id = begun(alice, 4)
    assert send(alice, upload_id, 0, b"data", **headers).status_code == status
    assert offset_of(alice, upload_id) == 0


@pytest.mark.parametrize("length", ["", "-1", "1.5", "9" * 30, "x"])
def test_a_start_without_a_length_is_refused(alice, length):
    assert start(alice, length).status_code == 422


@pytest.mark.parametrize("metadata", ["filename %%%", "filename /w==", "filename " + "A" * 5000])
def test_broken_metadata_is_refused(alice, metadata):
    answer = start(alice, 1, **{"Upload-Metadata": metadata})
    assert answer.json["errors"][0]["pointer"] == "/Upload-Metadata"


def test_more_than_was_announced_is_refused(alice, studio):
    upload_id = begun(alice, 4)
    answer = send(alice, upload_id, 0, b"12345")
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert offset_of(alice, upload_id) == 0
    assert file_of(studio, upload_id).stat().st_size == 0


@BOTH
def test_a_removed_upload_is_gone(alice, studio):
    upload_id = sent(alice, b"data")
    assert alice.delete(f"/uploads/{upload_id}", headers=TUS).status_code == 204
    assert not file_of(studio, upload_id).exists()
    assert alice.head(f"/uploads/{upload_id}", headers=TUS).status_code == 404
    assert send(alice, upload_id, 4, b"").status_code == 404


def test_another_users_upload_is_not_there(alice, bob):
    upload_id = sent(alice, b"data")
    assert bob.head(f"/uploads/{upload_id}", headers=TUS).status_code == 404
    assert bob.get(f"/uploads/{upload_id}").status_code == 404
    assert bob.delete(f"/uploads/{upload_id}", headers=TUS).status_code == 404
    assert send(bob, upload_id, 0, b"evil").status_code == 404
    answer = bob.post("/datasets", json={"uploads": [upload_id]})
    assert answer.json["errors"] == [{"pointer": "/uploads/0", "message": "is no upload of yours"}]
    assert bob.get("/uploads").json["items"] == []
    assert offset_of(alice, upload_id) == 4


def test_an_expired_upload_is_not_there(alice, studio):
    upload_id = sent(alice, b"data")
    with studio.db.writing() as session:
        session.get_one(Upload, upload_id).expires_at = 1.0
    assert alice.head(f"/uploads/{upload_id}", headers=TUS).status_code == 404
    assert send(alice, upload_id, 4, b"").status_code == 404


# ---- interruptions -----------------------------------------------------------------------------


def test_what_came_before_a_broken_connection_is_kept(alice, studio):
    upload_id = begun(alice, 100)
    chunks = iter([b"x" * 30])

    def breaking():
        yield from chunks
        # as web/api/uploads.py ends what it hands on when the connection breaks

    found = uploads.receive(studio, alice.user, upload_id, 0, breaking())
    assert found["offset"] == offset_of(alice, upload_id) == 30


def test_bytes_that_were_not_counted_are_written_again(alice, studio):
    """A process that died between the sync and the count leaves a file longer than its offset."""
    upload_id = begun(alice, 8)
    send(alice, upload_id, 0, b"1234")
    with file_of(studio, upload_id).open("ab") as file:
        file.write(b"lost")
    assert offset_of(alice, upload_id) == 4
    send(alice, upload_id, 4, b"5678")
    assert file_of(studio, upload_id).read_bytes() == b"12345678"


@BOTH
def test_of_two_writers_the_newer_goes_on_and_no_byte_is_mixed(alice, studio, monkeypatch):
    monkeypatch.setattr(uploads, "BLOCK", 4)
    upload_id = begun(alice, 12)
    newer = []

    def older():
        yield b"AAAA"
        newer.append(send(alice, upload_id, 4, b"BBBBBBBB"))
        yield b"AAAA"

    with pytest.raises(uploads.OffsetMismatch):
        uploads.receive(studio, alice.user, upload_id, 0, older())
    assert newer[0].status_code == 204
    assert file_of(studio, upload_id).read_bytes() == b"AAAABBBBBBBB"
    assert offset_of(alice, upload_id) == 12


@BOTH
def test_of_many_that_continue_at_once_one_does(alice, studio, app):
    upload_id = begun(alice, 4)
    codes = []

    def go():
        headers = TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        headers["Authorization"] = f"Bearer {alice.token}"
        answer = app.test_client().patch(
            f"/api/v1/uploads/{upload_id}", data=b"data", headers=headers
        )
        codes.append(answer.status_code)

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes.count(204) == 1
    assert set(codes) == {204, 409}
    assert file_of(studio, upload_id).read_bytes() == b"data"


# ---- limits ------------------------------------------------------------------------------------


@BOTH
def test_an_upload_holds_its_whole_length_from_the_quota(alice, studio):
    with studio.db.writing() as session:
        session.get_one(Quota, alice.user.id).max_storage_bytes = 1000
    upload_id = begun(alice, 900)
    answer = start(alice, 200)
    assert (answer.status_code, answer.json["code"]) == (409, "quota_exceeded")
    assert alice.get("/me").json["use"]["storage_bytes"] == 900
    send(alice, upload_id, 0, b"x" * 900)
    # its dataset takes over what it held
    assert alice.post("/datasets", json={"uploads": [upload_id]}).status_code == 202
    assert alice.get("/me").json["use"]["storage_bytes"] == 900


def test_an_upload_may_not_be_larger_than_the_limit(alice, studio):
    answer = start(alice, studio.settings.max_upload_bytes + 1)
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


def test_nobody_has_more_than_so_many(alice, studio, monkeypatch):
    monkeypatch.setattr(uploads, "MOST", 3)
    for _ in range(3):
        begun(alice, 1)
    answer = start(alice, 1)
    assert (answer.status_code, answer.json["code"]) == (409, "quota_exceeded")
    assert len(list(file_of(studio, "x").parent.iterdir())) == 3


def test_a_disk_that_fills_up_ends_the_piece_and_keeps_what_came(alice, studio, monkeypatch):
    monkeypatch.setattr(uploads, "BLOCK", 4)
    upload_id = begun(alice, 8)

    def filling():
        yield b"1234"
        monkeypatch.setattr(disk, "usage", lambda _: {"free_percent": 0.0})
        yield b"5678"

    with pytest.raises(StorageFull):
        uploads.receive(studio, alice.user, upload_id, 0, filling())
    assert send(alice, upload_id, 4, b"5678").status_code == 507
    assert start(alice, 1).status_code == 507
    assert offset_of(alice, upload_id) == 4


def test_a_piece_may_be_larger_than_other_bodies(make_settings, database_url, alice):
    app = create_app(
        make_settings(database_url=database_url, max_upload_bytes=100_000, max_body_bytes=2000),
        background=False,
    )
    alice.client = app.test_client()
    upload_id = begun(alice, 90_000)
    assert send(alice, upload_id, 0, b"x" * 90_000).status_code == 204
    app.extensions["atelier"].close()


# ---- a dataset of them -------------------------------------------------------------------------


@BOTH
def test_a_dataset_is_made_of_finished_uploads(alice, studio):
    ids = [sent(alice, b"One.", "one.txt"), sent(alice, b"Two.", "../two.txt")]
    answer = alice.post("/datasets", json={"uploads": ids, "name": "Mine", "kind": "text"})
    assert answer.status_code == 202
    made = answer.json
    assert (made["name"], made["kind"], made["bytes"], made["state"]) == (
        *("Mine", "text", 8, "checking"),
    )
    folder = places.folder_of(studio.settings, made["id"])
    assert places.read_names(folder) == ["one.txt", "../two.txt"]
    assert [places.file_of(folder, n).read_bytes() for n in (0, 1)] == [b"One.", b"Two."]
    assert alice.get("/uploads").json["items"] == []
    assert list(file_of(studio, "x").parent.iterdir()) == []
    again = alice.post("/datasets", json={"uploads": ids})
    assert again.status_code == 422
    with studio.db.reading() as session:
        (task,) = session.scalars(select(ShortTask))
    assert task.arguments == {"dataset_id": made["id"]}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"uploads": []}, "/uploads"),
        ({"uploads": "x"}, "/uploads"),
        ({"uploads": ["x"]}, "/uploads/0"),
        ({"kind": "pickles"}, "/kind"),
        ({"accept_partial": "yes"}, "/accept_partial"),
        ({"sample": "digits"}, "/sample"),
        ({"user_id": "x"}, "/user_id"),
    ],
)
def test_a_dataset_of_something_else_is_refused(alice, studio, change, pointer):
    upload_id = sent(alice, b"data")
    answer = alice.post("/datasets", json={"uploads": [upload_id]} | change)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert offset_of(alice, upload_id) == 4
    with studio.db.reading() as session:
        assert session.scalars(select(Dataset)).all() == []


def test_unfinished_empty_and_twice_named_uploads_are_refused(alice):
    upload_id, empty = begun(alice, 10), begun(alice, 0)
    answer = alice.post("/datasets", json={"uploads": [upload_id]})
    assert answer.json["errors"][0]["message"] == "is not finished: 0 of 10 bytes"
    assert alice.post("/datasets", json={"uploads": [empty]}).status_code == 422
    answer = alice.post("/datasets", json={"uploads": [empty, empty]})
    assert answer.json["errors"][0]["message"] == "must not name one twice"


@BOTH
def test_of_two_datasets_of_one_upload_one_is_made(alice, studio, app):
    upload_id = sent(alice, b"data")
    codes = []

    def go():
        headers = {"Authorization": f"Bearer {alice.token}"}
        answer = app.test_client().post(
            "/api/v1/datasets", json={"uploads": [upload_id]}, headers=headers
        )
        codes.append(answer.status_code)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes.count(202) == 1
    assert set(codes) <= {202, 409, 422}
    root = places.uploads_of(studio.settings)
    assert len([path for path in root.iterdir() if path.name != places.RESUMABLE]) == 1
