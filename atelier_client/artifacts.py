"""Artifacts: their cards, their bytes, and how a notebook shows them."""

from __future__ import annotations

import builtins
import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier_client.connection import Connection, Object
from atelier_client.downloads import Progress, fetch_chosen, fetch_file
from atelier_client.notebook import PICTURES, picture_html, text_html, text_markdown
from atelier_client.records import Record

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN_ANOTHER_WAY = ("image/png", "image/jpeg")


class Artifact(Record):
    """A file that a job made. Its bytes are fetched once, when they are first asked for."""

    id: str
    job_id: str
    media_type: str
    bytes: int
    sha256: str
    name: str
    index: int
    role: str
    seed: int
    metrics: Object
    label: Object
    created_at: str

    def __init__(self, answer: Object, artifacts: Artifacts) -> None:
        super().__init__(answer)
        self.__dict__.update(_artifacts=artifacts, _content=None)

    def content(self) -> builtins.bytes:
        if self._content is None:
            self.__dict__["_content"] = self._artifacts.content(self["id"])
        return self._content  # type: ignore[no-any-return]

    def save(self, path: str | Path = ".", on_progress: Progress | None = None) -> Path:
        """Into the file `path`, or into the folder `path` under its own name; resumes and checks."""
        return self._artifacts.download(self["id"], path, on_progress)  # type: ignore[no-any-return]

    @property
    def text(self) -> str:
        """Raises ValueError for what is no text."""
        if not self._is_text:
            raise ValueError(f"{self['name']} is {self['media_type']}, no text")
        return self.content().decode()

    @property
    def image(self) -> Image:
        """As a Pillow image; Pillow has to be installed."""
        if not self["media_type"].startswith("image/"):
            raise ValueError(f"{self['name']} is {self['media_type']}, no image")
        from PIL import Image

        return Image.open(io.BytesIO(self.content()))

    def lineage(self) -> Object:
        return self._artifacts.lineage(self["id"])  # type: ignore[no-any-return]

    def delete(self, *, force: bool = False) -> None:
        self._artifacts.delete(self["id"], force=force)

    @property
    def _is_text(self) -> bool:
        return str(self.get("media_type")).startswith(("text/", "application/json"))

    def _repr_png_(self) -> builtins.bytes | None:
        return self.content() if self.get("media_type") == "image/png" else None

    def _repr_jpeg_(self) -> builtins.bytes | None:
        return self.content() if self.get("media_type") == "image/jpeg" else None

    def _repr_html_(self) -> str | None:
        """Of texts, and of pictures that notebooks have no other way for."""
        if self._is_text:
            return text_html(self.content().decode(errors="replace"))
        if self.get("media_type") in PICTURES and self["media_type"] not in SHOWN_ANOTHER_WAY:
            return picture_html(self["media_type"], self.content())
        return None

    def _repr_markdown_(self) -> str | None:
        return text_markdown(self.content().decode(errors="replace")) if self._is_text else None


class Artifacts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, artifact_id: str) -> Artifact:
        return Artifact(self._connection.get(f"/artifacts/{artifact_id}"), self)

    def list(self, *, limit: int | None = None, **filters: Any) -> list[Artifact]:
        """Results, newest first; `filters`: whose, media, family, model_id, job_id, tag, starred, q."""
        found = self._connection.pages("/artifacts", limit=min(limit or 200, 200), **filters)
        return [Artifact(item, self) for item in islice(found, limit)]

    def change(self, artifact_id: str, **fields: Any) -> Artifact:
        """`starred`, `tags`, `add_tags`, `remove_tags`, `visibility`."""
        answer = self._connection.ask("PATCH", f"/artifacts/{artifact_id}", json=fields)
        return Artifact(answer.json(), self)

    def share(self, artifact_id: str, shared: bool = True) -> Artifact:
        return self.change(artifact_id, visibility="shared" if shared else "private")

    def thumbnail(self, artifact_id: str) -> bytes:
        """A small picture of a picture."""
        return self._connection.ask("GET", f"/artifacts/{artifact_id}/thumbnail").content

    def content(self, artifact_id: str) -> bytes:
        return self._connection.ask("GET", f"/artifacts/{artifact_id}/content").content

    def lineage(self, artifact_id: str) -> Object:
        """The artifact, its job, model, training job, dataset; each with id and hash."""
        return self._connection.get(f"/artifacts/{artifact_id}/lineage")

    def delete(self, artifact_id: str, *, force: bool = False) -> None:
        self._connection.delete(f"/artifacts/{artifact_id}", force)

    def download(
        self, artifact_id: str, path: str | Path = ".", on_progress: Progress | None = None
    ) -> Path:
        """Into the file `path`, or into the folder `path` under the artifact's name; resumes, and is checked."""
        return fetch_file(self._connection, self.get(artifact_id), path, on_progress)

    def archive(
        self,
        artifact_ids: Sequence[str],
        path: str | Path = ".",
        on_progress: Progress | None = None,
    ) -> Path:
        """Chosen artifacts of any jobs as one zip; into a file, or into a folder."""
        return fetch_chosen(self._connection, [*artifact_ids], path, on_progress)

    def records(self, answers: builtins.list[Any]) -> builtins.list[Artifact]:
        return [Artifact(answer, self) for answer in answers]
