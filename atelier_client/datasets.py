"""Datasets: upload, built-in samples, waiting until they are checked."""

from __future__ import annotations

import base64
import builtins
import mimetypes
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, Any

import httpx

from atelier_client.connection import Connection, Object
from atelier_client.errors import ApiError, ClientError, Unreachable
from atelier_client.records import Record
from atelier_client.sending import counted

TUS = {"Tus-Resumable": "1.0.0"}
PIECE_TYPE = "application/offset+octet-stream"
PIECE_BYTES = 16 << 20
MOST_FAILURES = 5  # of one piece
UPLOAD_TIMEOUT = httpx.Timeout(600, connect=5)


class Dataset(Record):
    """A dataset as it was when it was last looked at. Its number of items is `dataset["items"]`."""

    def __init__(self, answer: Object, datasets: Datasets) -> None:
        super().__init__(answer)
        self.__dict__["_datasets"] = datasets

    def wait(self, *, timeout: float | None = None) -> Dataset:
        """Until it is `ready` or `refused`."""
        self._become(self._datasets.wait(self["id"], timeout=timeout))
        return self

    def share(self, shared: bool = True) -> Dataset:
        self._become(self._datasets.share(self["id"], shared))
        return self

    def delete(self, *, force: bool = False) -> None:
        self._datasets.delete(self["id"], force=force)


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
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Dataset:
        """Files, folders (sent as one zip, so that folder names become labels), or a built-in sample.

        `on_progress` is told (bytes sent, bytes in all).
        """
        if bool(paths) == bool(sample):
            raise ValueError("give either paths or sample")
        if sample:
            body = {"sample": sample} | ({"name": name} if name else {})
            answer = self._connection.ask("POST", "/datasets", json=body, repeat=False)
            return Dataset(answer.json(), self)
        fields = {"name": name or Path(paths[0]).name} | ({"kind": kind} if kind else {})
        with ExitStack() as stack:
            parts = [_part(Path(path), stack) for path in paths]
            files = [("file", part) for part in counted(parts, on_progress)]
            answer = self._connection.ask(
                "POST", "/datasets", data=fields, files=files, repeat=False, timeout=UPLOAD_TIMEOUT
            )
        return Dataset(answer.json(), self)

    def add_resumable(
        self, paths: Sequence[str | Path], *, name: str | None = None, **fields: Any
    ) -> Dataset:
        """The same for big files: they come piece by piece, and go on after any interruption."""
        ids = []
        with ExitStack() as stack:
            for path in paths:
                filename, file, _ = _part(Path(path), stack)
                ids.append(send_file(self._connection, file, filename))
        body = {"uploads": ids, "name": name or Path(paths[0]).name, **fields}
        answer = self._connection.ask("POST", "/datasets", json=body, repeat=False)
        return Dataset(answer.json(), self)

    def preview(self, dataset_id: str) -> Object:
        return self._connection.get(f"/datasets/{dataset_id}/preview")

    def accept(self, dataset_id: str) -> Dataset:
        """A refused dataset without its bad files."""
        path = f"/datasets/{dataset_id}/accept"
        return Dataset(self._connection.ask("POST", path, repeat=False).json(), self)

    def get(self, dataset_id: str) -> Dataset:
        return Dataset(self._connection.get(f"/datasets/{dataset_id}"), self)

    def list(self) -> list[Dataset]:
        return [Dataset(item, self) for item in self._connection.pages("/datasets")]

    def change(self, dataset_id: str, **fields: Any) -> Dataset:
        """`name`, `visibility`."""
        answer = self._connection.ask("PATCH", f"/datasets/{dataset_id}", json=fields)
        return Dataset(answer.json(), self)

    def share(self, dataset_id: str, shared: bool = True) -> Dataset:
        return self.change(dataset_id, visibility="shared" if shared else "private")

    def items(self, dataset_id: str, *, limit: int | None = None) -> builtins.list[Object]:
        size = min(limit or 200, 200)
        found = self._connection.pages(f"/datasets/{dataset_id}/items", limit=size)
        return builtins.list(islice(found, limit))

    def wait(
        self,
        dataset_id: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Dataset], None] | None = None,
    ) -> Dataset:
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
        self._connection.delete(f"/datasets/{dataset_id}", force)


def send_file(
    connection: Connection, file: IO[bytes], name: str, upload_id: str | None = None
) -> str:
    """Sends a file by the tus protocol; returns the upload's id, with which a later call goes on."""
    length = file.seek(0, 2)
    if upload_id is None:
        metadata = f"filename {base64.b64encode(name.encode()).decode()}"
        headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata}
        answer = connection.ask("POST", "/uploads", headers=headers, repeat=False)
        upload_id = str(answer.json()["id"])
    path = f"/uploads/{upload_id}"
    failures = 0
    while True:
        # where it stands is asked again after every failure: some of a piece may have arrived
        at = int(connection.ask("HEAD", path, headers=TUS).headers["Upload-Offset"])
        try:
            while at < length:
                file.seek(at)
                headers = {**TUS, "Upload-Offset": str(at), "Content-Type": PIECE_TYPE}
                answer = connection.ask(
                    "PATCH", path, content=file.read(PIECE_BYTES), headers=headers, repeat=False
                )
                at, failures = int(answer.headers["Upload-Offset"]), 0
            return upload_id
        except (Unreachable, ApiError) as error:
            failures += 1
            moved = isinstance(error, Unreachable) or error.code == "offset_mismatch"
            if not moved or failures >= MOST_FAILURES:
                raise


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
