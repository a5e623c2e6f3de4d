"""Files sent piece by piece (the tus protocol): after any interruption they go on where the server says they stand."""

from __future__ import annotations

import base64
import builtins
import time
from collections.abc import Callable
from typing import IO

from atelier_client.connection import Connection
from atelier_client.errors import ApiError, Unreachable
from atelier_client.records import Record

TUS = {"Tus-Resumable": "1.0.0"}
PIECE_TYPE = "application/offset+octet-stream"
PIECE_BYTES = 8 << 20
PAUSE_SECONDS = 0.2  # after a failure; after another one twice as long
MOST_FAILURES = 5  # of one piece, while the server can be reached


class Upload(Record):
    """A file that is on its way, or has come and is not used yet."""

    id: str
    name: str
    length: int
    offset: int
    created_at: str
    expires_at: str


class Uploads:
    """Unfinished uploads count against the quota; what nobody continues is swept after a day."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Upload]:
        return [Upload(item) for item in self._connection.get("/uploads")["items"]]

    def get(self, upload_id: str) -> Upload:
        return Upload(self._connection.get(f"/uploads/{upload_id}"))

    def begin(self, name: str, length: int) -> Upload:
        metadata = f"filename {base64.b64encode(name.encode()).decode()}"
        headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata}
        # twice is once: what nobody continues goes by itself
        return Upload(self._connection.ask("POST", "/uploads", headers=headers).json())

    def send(
        self,
        file: IO[bytes],
        name: str,
        upload_id: str | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> str:
        """Sends what is missing; returns the upload's id, with which a later call goes on.

        `on_progress` is told the bytes that the server has. Waits for a server that restarts.
        """
        length = file.seek(0, 2)
        upload_id = upload_id or self.begin(name, length).id
        failures = 0
        while True:
            # asked again after every failure: some of a piece may have arrived
            at = self._offset(upload_id)
            try:
                while at < length:
                    if on_progress:
                        on_progress(at)
                    file.seek(at)
                    at, failures = self._send_piece(upload_id, at, file.read(PIECE_BYTES)), 0
            except (Unreachable, ApiError) as error:
                failures += 1
                moved = isinstance(error, Unreachable) or error.code == "offset_mismatch"
                if not moved or failures >= MOST_FAILURES:
                    raise
                time.sleep(getattr(error, "retry_after", None) or PAUSE_SECONDS * failures)
                continue
            if on_progress:
                on_progress(length)
            return upload_id

    def delete(self, upload_id: str) -> None:
        self._connection.delete(f"/uploads/{upload_id}")

    def _offset(self, upload_id: str) -> int:
        answer = self._connection.ask("HEAD", f"/uploads/{upload_id}", headers=TUS)
        return int(answer.headers["Upload-Offset"])

    def _send_piece(self, upload_id: str, at: int, piece: bytes) -> int:
        headers = {**TUS, "Upload-Offset": str(at), "Content-Type": PIECE_TYPE}
        answer = self._connection.ask(
            "PATCH", f"/uploads/{upload_id}", content=piece, headers=headers, repeat=False
        )
        return int(answer.headers["Upload-Offset"])
