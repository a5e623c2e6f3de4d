"""Datasets: upload, built-in samples, waiting until they are checked, what is in them."""

from __future__ import annotations

import builtins
import mimetypes
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

import httpx

from atelier_client.connection import Connection, Object
from atelier_client.downloads import Progress, fetch_archive
from atelier_client.errors import ClientError, NotFound
from atelier_client.notebook import card_html, picture_html
from atelier_client.records import Record
from atelier_client.sending import Part, counted, size_of
from atelier_client.uploads import Uploads

# From here on files go piece by piece, so that a broken connection costs little.
BIG_BYTES = 16 << 20
UPLOAD_TIMEOUT = httpx.Timeout(600, connect=5)
MOST_SHOWN = 12


class Dataset(Record):
    """A dataset as it was when it was last looked at. Its number of items is `dataset["items"]`."""

    id: str
    name: str
    kind: str | None
    state: str
    bytes: int
    sha256: str | None
    problems: list[Object]
    warnings: list[str]
    can_accept: bool
    visibility: str
    mine: bool
    facts: Object
    created_at: str

    def __init__(self, answer: Object, datasets: Datasets) -> None:
        super().__init__(answer)
        self.__dict__["_datasets"] = datasets

    def wait(self, *, timeout: float | None = None) -> Dataset:
        """Until it is `ready` or `refused`."""
        self._become(self._datasets.wait(self.id, timeout=timeout))
        return self

    def accept(self) -> Dataset:
        """A refused dataset is checked again, without its bad files."""
        self._become(self._datasets.accept(self.id))
        return self

    def rename(self, name: str) -> Dataset:
        self._become(self._datasets.change(self.id, name=name))
        return self

    def share(self, shared: bool = True) -> Dataset:
        """With everybody on this server, or with nobody any more."""
        self._become(self._datasets.share(self.id, shared))
        return self

    def preview(self) -> Object:
        return self._datasets.preview(self.id)  # type: ignore[no-any-return]

    def download(self, path: str | Path = ".", on_progress: Progress | None = None) -> Path:
        return self._datasets.download(self.id, path, on_progress)  # type: ignore[no-any-return]

    def delete(self, *, force: bool = False) -> None:
        self._datasets.delete(self.id, force=force)

    def _repr_html_(self) -> str:
        pictures = ""
        if self["state"] == "ready" and self["kind"] == "images":
            few = range(min(MOST_SHOWN, self["items"]))
            with suppress(NotFound):  # small pictures of older datasets may be missing
                pictures = "".join(
                    picture_html(*self._datasets.thumbnail(self["id"], n)) for n in few
                )
        return card_html(self, ("name", "kind", "state", "items", "bytes")) + pictures


class Datasets:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.uploads = Uploads(connection)

    def add(
        self,
        paths: Sequence[str | Path] = (),
        *,
        sample: str | None = None,
        name: str | None = None,
        kind: str | None = None,
        accept_partial: bool = False,
        resumable: bool | None = None,
        upload_ids: Sequence[str] = (),
        on_progress: Progress | None = None,
    ) -> Dataset:
        """Files, folders (sent as one zip, so that folder names become labels), or a built-in sample.

        A table among the files (CSV or JSON lines with `file_name`, `label`, `caption`) says what pictures show.
        Big uploads, or all with `resumable`, go on after a broken connection or a restart of the server; `upload_ids`
        are those of an earlier call that was broken off, in the order of the paths: what has come is not sent again.
        `accept_partial` leaves bad files out instead of refusing all. `on_progress` is told (bytes sent, bytes in all).
        """
        if bool(paths) == bool(sample):
            raise ValueError("give either paths or sample")
        if sample:
            return self._named({"sample": sample} | ({"name": name} if name else {}))
        fields: Object = {"name": name or Path(paths[0]).name} | ({"kind": kind} if kind else {})
        with ExitStack() as stack:
            parts = [_part(Path(path), stack) for path in paths]
            big = resumable is None and size_of(parts) > BIG_BYTES
            if resumable or upload_ids or big:
                ids = self._send(parts, upload_ids, on_progress)
                return self._named(fields | {"uploads": ids, "accept_partial": accept_partial})
            return self._at_once(
                fields | {"accept_partial": str(int(accept_partial))}, parts, on_progress
            )

    def _named(self, body: Object) -> Dataset:
        answer = self._connection.ask("POST", "/datasets", json=body, repeat=False)
        return Dataset(answer.json(), self)

    def _at_once(
        self, fields: Object, parts: builtins.list[Part], on_progress: Progress | None
    ) -> Dataset:
        files = [("file", part) for part in counted(parts, on_progress)]
        answer = self._connection.ask(
            "POST", "/datasets", data=fields, files=files, repeat=False, timeout=UPLOAD_TIMEOUT
        )
        return Dataset(answer.json(), self)

    def _send(
        self, parts: builtins.list[Part], begun: Sequence[str], on_progress: Progress | None
    ) -> builtins.list[str]:
        total, before, ids = size_of(parts), 0, []
        for n, (name, file, _) in enumerate(parts):

            def tell(sent: int, before: int = before) -> None:
                if on_progress:
                    on_progress(before + sent, total)

            upload_id = begun[n] if n < len(begun) else None
            ids.append(self.uploads.send(file, name, upload_id, tell))
            before += file.seek(0, 2)
        return ids

    def get(self, dataset_id: str) -> Dataset:
        return Dataset(self._connection.get(f"/datasets/{dataset_id}"), self)

    def list(self) -> builtins.list[Dataset]:
        return [Dataset(item, self) for item in self._connection.pages("/datasets")]

    def change(self, dataset_id: str, **fields: Any) -> Dataset:
        """`name`, `visibility`."""
        answer = self._connection.ask("PATCH", f"/datasets/{dataset_id}", json=fields)
        return Dataset(answer.json(), self)

    def share(self, dataset_id: str, shared: bool = True) -> Dataset:
        return self.change(dataset_id, visibility="shared" if shared else "private")

    def accept(self, dataset_id: str) -> Dataset:
        """A refused dataset without its bad files."""
        path = f"/datasets/{dataset_id}/accept"
        return Dataset(self._connection.ask("POST", path, repeat=False).json(), self)

    def preview(self, dataset_id: str) -> Object:
        """Samples, labels, sizes, copies: what to know before it is used."""
        return self._connection.get(f"/datasets/{dataset_id}/preview")

    def items(self, dataset_id: str, *, limit: int | None = None) -> builtins.list[Object]:
        size = min(limit or 200, 200)
        found = self._connection.pages(f"/datasets/{dataset_id}/items", limit=size)
        return builtins.list(islice(found, limit))

    def item(self, dataset_id: str, n: int) -> bytes:
        """The bytes of an item: a picture as PNG, a text as UTF-8."""
        return self._connection.ask("GET", f"/datasets/{dataset_id}/items/{n}/content").content

    def thumbnail(self, dataset_id: str, n: int, size: int = 128) -> tuple[str, bytes]:
        """(media type, bytes) of a small picture of an item."""
        path = f"/datasets/{dataset_id}/items/{n}/thumbnail"
        answer = self._connection.ask("GET", path, params={"size": size})
        return answer.headers["Content-Type"], answer.content

    def download(
        self, dataset_id: str, path: str | Path = ".", on_progress: Progress | None = None
    ) -> Path:
        """A zip of the items and manifest.jsonl with labels and captions; into a file, or into a folder."""
        address = f"/datasets/{dataset_id}/archive"
        return fetch_archive(self._connection, address, path, on_progress)

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


def _part(path: Path, stack: ExitStack) -> Part:
    if path.is_dir():
        return f"{path.resolve().name}.zip", stack.enter_context(_zipped(path)), "application/zip"
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return path.name, stack.enter_context(path.open("rb")), media_type


def _zipped(folder: Path) -> IO[bytes]:
    file = tempfile.TemporaryFile()
    # a zip knows no time before 1980, and files that came without one have 1970
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.is_file() and not hidden:
                archive.write(path, path.relative_to(folder).as_posix())
    file.seek(0)
    return file
