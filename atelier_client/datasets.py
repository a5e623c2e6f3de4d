"""Datasets: upload, built-in samples, waiting until they are checked."""

from __future__ import annotations

import builtins
import mimetypes
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import httpx

from atelier_client.connection import Connection, Object
from atelier_client.errors import ClientError

UPLOAD_TIMEOUT = httpx.Timeout(600, connect=5)


class Datasets:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        paths: Sequence[str | Path] = (),
        *,
        sample: str | None = None,
        name: str | None = None,
        kind: str | None = None,
    ) -> Object:
        """Files, folders (sent as one zip, so that folder names become labels), or a built-in sample."""
        if bool(paths) == bool(sample):
            raise ValueError("give either paths or sample")
        if sample:
            body = {"sample": sample} | ({"name": name} if name else {})
            answer = self._connection.ask("POST", "/datasets", json=body, repeat=False)
            return answer.json()  # type: ignore[no-any-return]
        fields = {"name": name or Path(paths[0]).name} | ({"kind": kind} if kind else {})
        with ExitStack() as stack:
            files = [("file", _part(Path(path), stack)) for path in paths]
            answer = self._connection.ask(
                "POST", "/datasets", data=fields, files=files, repeat=False, timeout=UPLOAD_TIMEOUT
            )
        return answer.json()  # type: ignore[no-any-return]

    def get(self, dataset_id: str) -> Object:
        return self._connection.get(f"/datasets/{dataset_id}")

    def list(self) -> list[Object]:
        return list(self._connection.pages("/datasets"))

    def items(self, dataset_id: str) -> builtins.list[Object]:
        return list(self._connection.pages(f"/datasets/{dataset_id}/items"))

    def wait(
        self,
        dataset_id: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Object], None] | None = None,
    ) -> Object:
        """Returns the dataset once it is `ready` or `refused`."""
        started = time.monotonic()
        pause = 0.1
        while True:
            dataset = self.get(dataset_id)
            if on_progress:
                on_progress(dataset)
            if dataset["state"] != "checking":
                return dataset
            if timeout is not None and time.monotonic() - started > timeout:
                raise ClientError(f"dataset {dataset_id} is still being checked")
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)

    def delete(self, dataset_id: str, *, force: bool = False) -> None:
        params = {"force": "1"} if force else {}
        self._connection.ask("DELETE", f"/datasets/{dataset_id}", params=params)


def _part(path: Path, stack: ExitStack) -> tuple[str, IO[Any], str]:
    if path.is_dir():
        return f"{path.resolve().name}.zip", stack.enter_context(_zipped(path)), "application/zip"
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return path.name, stack.enter_context(path.open("rb")), media_type


def _zipped(folder: Path) -> IO[bytes]:
    file = tempfile.TemporaryFile()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.is_file() and not hidden:
                archive.write(path, path.relative_to(folder).as_posix())
    file.seek(0)
    return file
