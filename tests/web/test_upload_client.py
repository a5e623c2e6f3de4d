"""Resumable uploads as programs and browsers send them."""

from __future__ import annotations

import io

import pytest

from atelier_client import Client
from shared import uploads as places
from shared.models import Upload
from tests.web.live import LiveServer

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def atelier(app, alice):
    live = LiveServer(app)
    live.start()
    with Client(live.url, alice.token, patience=20) as client:
        yield client
    live.stop()


def test_the_client_sends_big_files_piece_by_piece(atelier, studio, monkeypatch, tmp_path):
    monkeypatch.setattr("atelier_client.uploads.PIECE_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(b"x" * 2500)
    told = []
    made = atelier.datasets.add(
        [tmp_path / "a.txt"],
        kind="text",
        accept_partial=True,
        resumable=True,
        on_progress=lambda *sent: told.append(sent),
    )
    assert told == [(0, 2500), (1000, 2500), (2000, 2500), (2500, 2500)]
    assert (made["name"], made["bytes"], made["state"]) == ("a.txt", 2500, "checking")
    folder = places.folder_of(studio.settings, made["id"])
    assert places.file_of(folder, 0).read_bytes() == b"x" * 2500


def test_the_client_goes_on_where_an_upload_stands(atelier, studio):
    connection = atelier.datasets._connection
    headers = {**TUS, "Upload-Length": "8"}
    upload_id = connection.ask("POST", "/uploads", headers=headers).json()["id"]
    piece = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    connection.ask("PATCH", f"/uploads/{upload_id}", content=b"1234", headers=piece)
    atelier.uploads.send(io.BytesIO(b"12345678"), "a", upload_id)
    with studio.db.reading() as session:
        assert session.get_one(Upload, upload_id).offset == 8
    assert places.resumable_of(studio.settings, upload_id).read_bytes() == b"12345678"


def test_a_browser_may_continue_an_upload_with_its_session(mine, theirs, studio, alice):
    answer = alice.post("/uploads", headers=TUS | {"Upload-Length": "4"})
    path = f"/api/v1/uploads/{answer.json['id']}"
    piece = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert mine.client.patch(path, data=b"data", headers=piece).status_code in (400, 403)
    piece["X-CSRFToken"] = mine.token()
    assert mine.client.patch(path, data=b"data", headers=piece).status_code == 204
