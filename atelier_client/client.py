"""The client: one attribute for each noun of the API."""

from __future__ import annotations

from types import TracebackType

import httpx

from atelier_client.artifacts import Artifacts
from atelier_client.connection import Connection, Object
from atelier_client.datasets import Datasets
from atelier_client.jobs import Jobs

PATIENCE_SECONDS = 60.0


class Client:
    """Calls that may be repeated are repeated for `patience` seconds while the server is away."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        patience: float = PATIENCE_SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, token, patience, transport)
        self.datasets = Datasets(self._connection)
        self.jobs = Jobs(self._connection)
        self.artifacts = Artifacts(self._connection)
        self.models = Models(self._connection)
        self.families = Families(self._connection)

    def me(self) -> Object:
        return self._connection.get("/me")

    def close(self) -> None:
        self._connection.http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Models:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, model_id: str) -> Object:
        return self._connection.get(f"/models/{model_id}")

    def list(self) -> list[Object]:
        return list(self._connection.pages("/models"))

    def change(self, model_id: str, *, name: str) -> Object:
        answer = self._connection.ask("PATCH", f"/models/{model_id}", json={"name": name})
        return answer.json()  # type: ignore[no-any-return]

    def delete(self, model_id: str, *, force: bool = False) -> None:
        params = {"force": "1"} if force else {}
        self._connection.ask("DELETE", f"/models/{model_id}", params=params)


class Families:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Object]:
        items: list[Object] = self._connection.get("/families")["items"]
        return items

    def get(self, name: str) -> Object | None:
        """The family of this name, or None."""
        return next((family for family in self.list() if family["name"] == name), None)
