"""Files from the server: parts that resume and are checked by their SHA-256, and archives in one go."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from atelier_client.connection import LONGEST_PAUSE, Connection, Object
from atelier_client.errors import BrokenDownload, Unreachable

CHUNK = 1 << 20
Progress = Callable[[int, int], None]


def fetch(
    connection: Connection, card: Object, path: str | Path, on_progress: Progress | None
) -> Path:
    """An interrupted download continues where it stopped, in this call or in the next; the file appears
    under its name only when its SHA-256 is right."""
    target = _target(path, str(card["name"]))
    part = target.with_name(f"{target.name}.{card['sha256'][:12]}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    _fetch(connection, card, part, on_progress)
    if _sha256(part) != card["sha256"]:
        part.unlink()
        raise BrokenDownload(f"{target}: the bytes do not have the SHA-256 that was announced")
    os.replace(part, target)
    return target


def fetch_whole(
    connection: Connection, address: str, path: str | Path, name: str, on_progress: Progress | None
) -> Path:
    """What the server makes while it sends it, so that it has no hash and cannot be resumed."""
    target = _target(path, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        with connection.stream(address, {}) as response, part.open("wb") as file:
            total = int(response.headers.get("Content-Length", 0))
            for chunk in response.iter_bytes(CHUNK):
                file.write(chunk)
                if on_progress:
                    on_progress(file.tell(), total)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _target(path: str | Path, name: str) -> Path:
    target = Path(path)
    # the server's word for a name must not lead out of the folder
    return target / (Path(name).name or "file") if target.is_dir() else target


def _fetch(connection: Connection, card: Object, part: Path, on_progress: Progress | None) -> None:
    deadline = time.monotonic() + connection.patience
    while _size(part) < card["bytes"] or not part.exists():
        before = _size(part)
        try:
            _fetch_rest(connection, card, part, on_progress)
        except Unreachable as error:
            if _size(part) > before:
                deadline = time.monotonic() + connection.patience
            wait = error.retry_after or min(0.5, LONGEST_PAUSE)
            if time.monotonic() + wait > deadline:
                raise
            time.sleep(wait)


def _fetch_rest(
    connection: Connection, card: Object, part: Path, on_progress: Progress | None
) -> None:
    have = _size(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    with connection.stream(f"/artifacts/{card['id']}/content", headers) as response:
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
