"""The client: one attribute for each noun of the API."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx

from atelier_client.account import Invitations, Me, Tokens, Users, audit
from atelier_client.artifacts import Artifact, Artifacts
from atelier_client.connection import Connection, Object
from atelier_client.datasets import Datasets
from atelier_client.errors import ClientError
from atelier_client.jobs import Job, Jobs
from atelier_client.models import Families, Model, Models
from atelier_client.webhooks import Webhooks
from atelier_client.workers import Workers

PATIENCE_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0


class Client:
    """Calls that may be repeated are repeated for `patience` seconds while the server is away."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        patience: float = PATIENCE_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, token, patience, transport, timeout)
        self.datasets = Datasets(self._connection)
        self.jobs = Jobs(self._connection)
        self.artifacts = Artifacts(self._connection)
        self.models = Models(self._connection)
        self.families = Families(self._connection)
        self.uploads = self.datasets.uploads
        self.tokens = Tokens(self._connection)
        self.webhooks = Webhooks(self._connection)
        self.workers = Workers(self._connection)
        self.users = Users(self._connection)
        self.invitations = Invitations(self._connection)

    def me(self) -> Me:
        """Name, roles, quota and use."""
        return Me(self._connection.get("/me"))

    def ready(self) -> Object:
        """How many families and workers there are; raises Unreachable while the server can accept no work."""
        return self._connection.get("/readyz")

    def audit(self, *, limit: int | None = None, **filters: Any) -> list[Object]:
        """For administrators: who did what, newest first; `filters`: action, actor_id, subject_id."""
        return audit(self._connection, limit, **filters)

    def first(self, path: str, count: int) -> list[Object]:
        """The first page of a list, like /jobs."""
        return self._connection.get(path, limit=count)["items"]  # type: ignore[no-any-return]

    def queue(self) -> Object:
        """Lanes, my jobs with their places, others as counts, devices and workers."""
        return self._connection.get("/queue")

    def storage(self) -> Object:
        """For administrators: what lies on the disk, and what sweeps have freed."""
        return self._connection.get("/storage")

    def sweep(self, *, timeout: float = 600.0) -> Object:
        """For administrators: sweeps now; returns what that freed."""
        ordered = self._connection.ask("POST", "/storage/sweep").json()
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            done = {sweep["id"]: sweep for sweep in self.storage()["sweeps"]}
            if ordered["id"] in done:
                return done[ordered["id"]]  # type: ignore[no-any-return]
            time.sleep(0.5)
        raise ClientError("the sweep has not been made; is a cpu worker running?")

    def generate(
        self,
        model: str | Model,
        *,
        count: int = 1,
        seed: int | None = None,
        name: str | None = None,
        on_progress: Callable[[Job], None] | None = None,
        timeout: float | None = None,
        **params: Any,
    ) -> list[Artifact]:
        """Generates `count` outputs, waits for them and returns them, index 0 first. Raises JobFailed.

        `params` are the model's: prompt, class_label, temperature, …
        """
        model_id = model if isinstance(model, str) else model["id"]
        job = self.jobs.submit(
            "generate", {"count": count, **params}, model_id=model_id, seed=seed, name=name
        )
        return job.wait(on_progress, timeout=timeout).result_or_raise().artifacts

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
