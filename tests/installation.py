"""A whole installation as its users start it: `atelier up` in a folder of its own, one user, the client."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from atelier_client import Client
from tests.servers import wait_until
from worker.chaos import installation

ROOT = installation.ROOT
NOT_PASSED_ON = ("ATELIER_", "DATABASE_URL", "REDIS_URL", "FAILPOINT")


class Installation(installation.Installation):
    """`with Installation(threads="2") as atelier: atelier.client.jobs.submit(...)`."""

    def __init__(self, *, extra: dict[str, str] | None = None, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atelier-up-"))
        port = installation.free_port()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)}
        named = {f"ATELIER_{name.upper()}": str(value) for name, value in settings.items()}
        place = {"ATELIER_DATA": str(self.folder), "ATELIER_PORT": str(port)}
        environment = {**clean, **named, **(extra or {}), **place}
        super().__init__(environment, self.folder / "up.log", port)
        self.clients: dict[str, Client] = {}

    def user(self, name: str = "ann") -> Client:
        client = Client(self.url, self.token_of(name))
        self.clients[name] = client
        return client

    def families(self, client: Client, *names: str) -> None:
        """Waits until a live worker offers these families."""

        def offered() -> bool:
            online = {family["name"] for family in client.families.list() if family["online"]}
            return set(names) <= online

        wait_until(offered, 90, f"families {names}")

    def stop(self, patience: float = installation.STOP_SECONDS) -> int:
        """What would not end is killed, and fails."""
        status = super().stop(patience)
        left = self.left_running()
        assert not left, f"left running: {left}"
        return status

    def __enter__(self) -> Installation:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        for client in self.clients.values():
            client.close()
        if self.process is not None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running(**settings: str):
    with Installation(**settings) as atelier:
        yield atelier, atelier.user()
