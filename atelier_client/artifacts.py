"""Artifacts: their cards, and downloads that resume and are checked."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from atelier_client.connection import LONGEST_PAUSE, Connection, Object
from atelier_client.errors import BrokenDownload, Unreachable

CHUNK = 1 << 20


class Artifacts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, artifact_id: str) -> Object:
        return self._connection.get(f"/artifacts/{artifact_id}")

    def lineage(self, artifact_id: str) -> Object:
        return self._connection.get(f"/artifacts/{artifact_id}/lineage")

    def delete(self, artifact_id: str) -> None:
        self._connection.ask("DELETE", f"/artifacts/{artifact_id}")

    def download(
        self,
        artifact_id: str,
        path: str | Path,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Into the file `path`, or into the folder `path` under the artifact's name.

        An interrupted download continues where it stopped, in this call or in the next; the file
        appears under its name only when its SHA-256 is right.
        """
        card = self.get(artifact_id)
        target = Path(path)
        if target.is_dir():
            # the server's word for a name must not lead out of the folder
            target = target / Path(str(card["name"])).name
        part = target.with_name(f"{target.name}.{card['sha256'][:12]}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._fetch(card, part, on_progress)
        if _sha256(part) != card["sha256"]:
            part.unlink()
            raise BrokenDownload(f"{target}: the bytes do not have the SHA-256 that was announced")
        os.replace(part, target)
        return target

    def _fetch(
        self, card: Object, part: Path, on_progress: Callable[[int, int], None] | None
    ) -> None:
        deadline = time.monotonic() + self._connection.patience
        while _size(part) < card["bytes"] or not part.exists():
            before = _size(part)
            try:
                self._fetch_rest(card, part, on_progress)
            except Unreachable as error:
                if _size(part) > before:
                    deadline = time.monotonic() + self._connection.patience
                wait = min(error.retry_after or 0.5, LONGEST_PAUSE)
                if time.monotonic() + wait > deadline:
                    raise
                time.sleep(wait)

    def _fetch_rest(
        self, card: Object, part: Path, on_progress: Callable[[int, int], None] | None
    ) -> None:
        have = _size(part)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._connection.stream(f"/artifacts/{card['id']}/content", headers) as response:
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                return
            # a server that ignores Range sends everything again
            with part.open("ab" if response.status_code == 206 else "wb") as file:
                for chunk in response.iter_bytes(CHUNK):
                    file.write(chunk)
                    if on_progress:
                        on_progress(file.tell(), int(card["bytes"]))
        if _size(part) > card["bytes"]:
            part.unlink()
            raise BrokenDownload(f"{card['id']}: more bytes came than were announced")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
