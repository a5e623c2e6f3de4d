"""Artifacts: their cards, their bytes, and how a notebook shows them."""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier_client.connection import Connection, Object
from atelier_client.downloads import Progress, fetch
from atelier_client.records import Record

if TYPE_CHECKING:
    from PIL.Image import Image


class Artifact(Record):
    """A file that a job made. Its bytes are fetched once, when they are first asked for."""

    def __init__(self, answer: Object, artifacts: Artifacts) -> None:
        super().__init__(answer)
        self.__dict__.update(_artifacts=artifacts, _content=None)

    def content(self) -> bytes:
        if self._content is None:
            self.__dict__["_content"] = self._artifacts.content(self["id"])
        return self._content  # type: ignore[no-any-return]

    def save(self, path: str | Path = ".", on_progress: Progress | None = None) -> Path:
        """Into the file `path`, or into the folder `path` under its own name; resumes and checks."""
        return self._artifacts.download(self["id"], path, on_progress)  # type: ignore[no-any-return]

    @property
    def text(self) -> str:
        """Raises ValueError for what is no text."""
        if not self["media_type"].startswith(("text/", "application/json")):
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

    def delete(self) -> None:
        self._artifacts.delete(self["id"])

    def _repr_png_(self) -> bytes | None:
        return self.content() if self.get("media_type") == "image/png" else None

    def _repr_jpeg_(self) -> bytes | None:
        return self.content() if self.get("media_type") == "image/jpeg" else None

    def _repr_html_(self) -> str | None:
        if not str(self.get("media_type")).startswith("text/"):
            return None
        # what a model wrote is text, whatever it looks like
        return f"<pre>{html.escape(self.content().decode(errors='replace'))}</pre>"


class Artifacts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, artifact_id: str) -> Artifact:
        return Artifact(self._connection.get(f"/artifacts/{artifact_id}"), self)

    def content(self, artifact_id: str) -> bytes:
        return self._connection.ask("GET", f"/artifacts/{artifact_id}/content").content

    def lineage(self, artifact_id: str) -> Object:
        return self._connection.get(f"/artifacts/{artifact_id}/lineage")

    def delete(self, artifact_id: str) -> None:
        self._connection.delete(f"/artifacts/{artifact_id}")

    def download(
        self, artifact_id: str, path: str | Path, on_progress: Progress | None = None
    ) -> Path:
        """Into the file `path`, or into the folder `path` under the artifact's name; resumes, and is checked."""
        return fetch(self._connection, self.get(artifact_id), path, on_progress)

    def records(self, answers: list[Any]) -> list[Artifact]:
        return [Artifact(answer, self) for answer in answers]
