"""Trained models and the families that they belong to."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any
from urllib.parse import quote

from atelier_client.connection import Connection, Object
from atelier_client.downloads import Progress, fetch_archive
from atelier_client.notebook import card_html
from atelier_client.records import Record


class Model(Record):
    """A trained model: its card, and what can be done with it."""

    id: str
    name: str
    family: str
    visibility: str
    mine: bool
    job_id: str | None
    dataset_id: str | None
    generate_schema: Object
    facts: Object
    metrics: Object
    files: Object
    bytes: int
    sha256: str
    licence_note: str
    created_at: str

    def __init__(self, answer: Object, models: Models) -> None:
        super().__init__(answer)
        self.__dict__["_models"] = models

    def rename(self, name: str) -> Model:
        self._become(self._models.change(self["id"], name=name))
        return self

    def share(self, shared: bool = True) -> Model:
        """With everybody on this server, or with nobody any more."""
        self._become(self._models.share(self["id"], shared))
        return self

    def download(self, path: str | Path = ".", on_progress: Progress | None = None) -> Path:
        return self._models.download(self["id"], path, on_progress)  # type: ignore[no-any-return]

    def delete(self, *, force: bool = False) -> None:
        self._models.delete(self["id"], force=force)

    def _repr_html_(self) -> str:
        return card_html(self, ("id", "name", "family", "visibility", "bytes", "metrics"))


class Models:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, model_id: str) -> Model:
        return Model(self._connection.get(f"/models/{model_id}"), self)

    def list(self, **filters: Any) -> list[Model]:
        """Newest first; `filters`: q (a part of the name or the family, or an id)."""
        return [Model(item, self) for item in self._connection.pages("/models", **filters)]

    def change(self, model_id: str, **fields: Any) -> Model:
        """`name`, `visibility`."""
        answer = self._connection.ask("PATCH", f"/models/{model_id}", json=fields)
        return Model(answer.json(), self)

    def share(self, model_id: str, shared: bool = True) -> Model:
        return self.change(model_id, visibility="shared" if shared else "private")

    def download(
        self, model_id: str, path: str | Path = ".", on_progress: Progress | None = None
    ) -> Path:
        """A zip that the owning library can load when it is unpacked; into a file, or into a folder."""
        address = f"/models/{model_id}/archive"
        return fetch_archive(self._connection, address, path, on_progress)

    def delete(self, model_id: str, *, force: bool = False) -> None:
        self._connection.delete(f"/models/{model_id}", force)


class Family(Record):
    """A kind of model: `actions` has the parameters of training and generating as JSON Schema, and an example."""

    name: str
    version: int
    title: str
    summary: str
    modality: str
    dataset_kind: str | None
    online: bool
    actions: Object


class Families:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Family]:
        return [Family(item) for item in self._connection.get("/families")["items"]]

    def get(self, name: str) -> Family:
        """Raises NotFound."""
        return Family(self._connection.get(f"/families/{quote(name, safe='')}"))
