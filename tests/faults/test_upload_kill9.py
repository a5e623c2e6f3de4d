"""A web server killed in the middle of an upload: what it had counted is on disk, and the client goes on there."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import httpx
import pytest

from atelier_client import Client
from atelier_client.datasets import send_file
from shared import uploads
from shared.config import child_environment
from shared.models import Upload
from tests.servers import die_with_parent, free_port, wait_until
from web.services.accounts import create_user
from web.services.tokens import issue_token
from web.services.uploads import BLOCK

DATA = random.Random(7).randbytes(3 * BLOCK + 1000)
SENT = 2 * BLOCK + BLOCK // 2


class Web:
    """The web server alone, as `atelier up` starts it."""

    def __init__(self, settings) -> None:
        self.settings = settings.model_copy(update={"port": free_port()})
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "web.server"],
            env=child_environment(self.settings),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        wait_until(self._answers, 60, "the web server answers")

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        return False

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def web(settings):
    web = Web(settings)
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
        assert send_file(connection, io.BytesIO(DATA), "a.txt", upload_id) == upload_id
        assert path.read_bytes() == DATA
