"""Files from the server: an interrupted download goes on where it stopped, and nothing is there under its name before
it is whole and checked."""

from __future__ import annotations

import hashlib
import os
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from atelier_client.connection import Connection, Object
from atelier_client.errors import BrokenDownload, Unreachable

PAUSE = 0.5
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """Bytes on the server. `tag` names them: a part of other bytes is never continued."""

    address: str
    name: str
    tag: str
    size: int | None  # None: made while it is sent, and not counted before
    sha256: str = ""
    ranges: bool = True
    body: Object | None = None  # of a POST


def fetch_file(
    connection: Connection, card: Object, path: str | Path, on_progress: Progress | None
) -> Path:
    """The bytes of an artifact; checked by their SHA-256."""
    sha256, size = str(card["sha256"]), int(card["bytes"])
    address = f"/artifacts/{card['id']}/content"
    source = Source(address, str(card["name"]), f'"{sha256}"', size, sha256)
    return _fetch(connection, source, path, on_progress)


def fetch_archive(
    connection: Connection, address: str, path: str | Path, on_progress: Progress | None
) -> Path:
    """A zip that the server makes while it sends it; checked by the checksums in it."""
    head = connection.ask("HEAD", address).headers
    ranges = head.get("Accept-Ranges") == "bytes"
    size = int(head["Content-Length"]) if ranges else None
    source = Source(address, _name_in(head), head.get("ETag", ""), size, ranges=ranges)
    return _fetch(connection, source, path, on_progress)


def fetch_chosen(
    connection: Connection, ids: list[str], path: str | Path, on_progress: Progress | None
) -> Path:
    """Chosen artifacts as one zip."""
    tag = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    source = Source("/artifacts/archive", "results.zip", tag, None, ranges=False, body={"ids": ids})
    return _fetch(connection, source, path, on_progress)


def _fetch(
    connection: Connection, source: Source, path: str | Path, on_progress: Progress | None
) -> Path:
    target = _target(path, source.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = re.sub(r"\W", "", source.tag)[:12]
    part = target.with_name(f"{target.name}.{mark}.part")
    deadline = time.monotonic() + connection.patience
    while True:
        before = _size(part)
        try:
            if _fetch_rest(connection, source, part, on_progress):
                break
        except Unreachable as error:
            if _size(part) > before:
                deadline = time.monotonic() + connection.patience
            wait = error.retry_after or PAUSE
            if time.monotonic() + wait > deadline:
                raise
            time.sleep(wait)
    if problem := _problem(source, part):
        part.unlink()
        raise BrokenDownload(f"{target}: {problem}")
    os.replace(part, target)
    return target


def _fetch_rest(
    connection: Connection, source: Source, part: Path, on_progress: Progress | None
) -> bool:
    """Whether all is there. A connection that breaks leaves what came."""
    have = _size(part) if source.ranges else 0
    if source.size is not None and have >= source.size and part.exists():
        return True
    # as it lies there: parts of something packed on the way would not fit together
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": source.tag}
    method: str = "GET" if source.body is None else "POST"
    options: dict[str, Any] = {} if source.body is None else {"json": source.body}
    with connection.stream(method, source.address, headers, **options) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            return False
        # 200 to a Range: the bytes are other ones now, or a server that knows no ranges sends all again
        with part.open("ab" if response.status_code == 206 else "wb") as file:
            # as it comes: what a chunk of our size still waited for would be lost with the connection
            for chunk in response.iter_bytes():
                file.write(chunk)
                if on_progress:
                    on_progress(file.tell(), source.size or 0)
    return True


def _problem(source: Source, part: Path) -> str:
    if source.sha256:
        right = _sha256(part) == source.sha256
        return "" if right else "the bytes do not have the SHA-256 that was announced"
    try:
        with zipfile.ZipFile(part) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError):  # it looks for its parts before the file's beginning
        return "this is no whole zip"
    return f"{broken} in it is broken" if broken else ""


def _target(path: str | Path, name: str) -> Path:
    target = Path(path)
    # the server's word for a name must not lead out of the folder
    return target / (Path(name).name or "file") if target.is_dir() else target


def _name_in(headers: Any) -> str:
    text = headers.get("Content-Disposition", "attachment")
    if whole := re.search(r"filename\*=UTF-8''([^;\s]+)", text):
        return unquote(whole[1])
    message = Message()
    message["Content-Disposition"] = text
    return message.get_filename() or "archive.zip"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
