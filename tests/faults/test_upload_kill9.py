"""A web server killed in the middle of an upload: what it had counted is on disk, and the client goes on there."""

from __future__ import annotations

import io
import random
import threading
from contextlib import suppress

import httpx
import pytest

from atelier_client import Client
from shared import uploads
from shared.models import Upload
from tests.servers import wait_until
from tests.web.live import WebProcess
from web.services.accounts import create_user
from web.services.tokens import issue_token
from web.services.uploads import BLOCK

DATA = random.Random(7).randbytes(3 * BLOCK + 1000)
SENT = 2 * BLOCK + BLOCK // 2


@pytest.fixture
def web(settings):
    web = WebProcess(settings)
    yield web
    web.kill()


def test_an_upload_goes_on_after_its_server_was_killed(web, db, settings):
    token = issue_token(db, create_user(db, "ann", False), "test")["token"]
    with Client(web.url, token) as client:
        connection = client.datasets._connection
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(DATA))}
        upload_id = connection.ask("POST", "/uploads", headers=headers).json()["id"]
        over = threading.Event()

        def half():
            yield DATA[:SENT]
            over.wait(120)

        def send():
            given = {
                "Tus-Resumable": "1.0.0",
                "Upload-Offset": "0",
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(len(DATA)),
                "Authorization": f"Bearer {token}",
            }
            with suppress(Exception):
                url = f"{web.url}/api/v1/uploads/{upload_id}"
                httpx.patch(url, content=half(), headers=given, timeout=120)

        def counted() -> int:
            with db.reading() as session:
                return session.get_one(Upload, upload_id).offset

        sender = threading.Thread(target=send)
        sender.start()
        wait_until(lambda: counted() == 2 * BLOCK, 60, "two blocks are counted")
        web.kill()
        over.set()
        sender.join(60)
        web.start()

        path = uploads.resumable_of(settings, upload_id)
        head = connection.ask("HEAD", f"/uploads/{upload_id}", headers={"Tus-Resumable": "1.0.0"})
        assert int(head.headers["Upload-Offset"]) == 2 * BLOCK
        assert path.read_bytes()[: 2 * BLOCK] == DATA[: 2 * BLOCK]
        assert client.uploads.send(io.BytesIO(DATA), "a.txt", upload_id) == upload_id
        assert path.read_bytes() == DATA
