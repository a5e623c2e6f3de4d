"""Trained models and the families that they belong to."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atelier_client.connection import Connection, Object
from atelier_client.downloads import fetch_whole
from atelier_client.records import Record


class Model(Record):
    """A trained model: its card, and what can be done with it."""

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

    def download(self, path: str | Path = ".") -> Path:
        return self._models.download(self["id"], path)  # type: ignore[no-any-return]

    def delete(self, *, force: bool = False) -> None:
        self._models.delete(self["id"], force=force)


class Models:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, model_id: str) -> Model:
        return Model(self._connection.get(f"/models/{model_id}"), self)

    def list(self) -> list[Model]:
        return [Model(item, self) for item in self._connection.pages("/models")]

    def change(self, model_id: str, **fields: Any) -> Model:
        """`name`, `visibility`."""
        answer = self._connection.ask("PATCH", f"/models/{model_id}", json=fields)
        return Model(answer.json(), self)

    def share(self, model_id: str, shared: bool = True) -> Model:
        return self.change(model_id, visibility="shared" if shared else "private")

    def download(
        self,
        model_id: str,
        path: str | Path = ".",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """A zip that the owning library can load when it is unpacked; into a file, or into a folder."""
        name = f"{model_id}.zip"
        return fetch_whole(self._connection, f"/models/{model_id}/archive", path, name, on_progress)

    def delete(self, model_id: str, *, force: bool = False) -> None:
        self._connection.delete(f"/models/{model_id}", force)


class Families:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Record]:
        return [Record(item) for item in self._connection.get("/families")["items"]]

    def get(self, name: str) -> Record | None:
        """The family of this name, or None."""
        return next((family for family in self.list() if family["name"] == name), None)
