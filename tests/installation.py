"""A whole installation as its users start it: `atelier up` in a folder of its own, one user, the client."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from atelier_client import Client
from tests.servers import die_with_parent, free_port, wait_until

ROOT = Path(__file__).parent.parent
NOT_PASSED_ON = ("ATELIER_", "DATABASE_URL", "REDIS_URL", "FAILPOINT")


class Installation:
    """`with Installation(threads="2") as atelier: atelier.client.jobs.submit(...)`."""

    def __init__(self, *, extra: dict[str, str] | None = None, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atelier-up-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)}
        named = {f"ATELIER_{name.upper()}": str(value) for name, value in settings.items()}
        self.environment = {
            **clean,
            **named,
            **(extra or {}),
            "ATELIER_DATA": str(self.folder),
            "ATELIER_PORT": str(self.port),
        }
        self.process: subprocess.Popen | None = None
        self.ready_seconds = 0.0
        self.clients: dict[str, Client] = {}

    def atelier(self, *arguments: str) -> str:
        """Runs one command of the command line; its output."""
        return subprocess.run(
            [sys.executable, "-m", "web.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def start(self) -> None:
        started = time.monotonic()
        with (self.folder / "up.log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "web.cli", "up"],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        wait_until(self.is_ready, 60, "/readyz answers 200")
        self.ready_seconds = time.monotonic() - started

    def is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        return False

    def user(self, name: str = "ann") -> Client:
        client = Client(self.url, self.atelier("user", "create", name).splitlines()[-1])
        self.clients[name] = client
        return client

    def families(self, client: Client, *names: str) -> None:
        """Waits until a live worker offers these families."""

        def offered() -> bool:
            online = {family["name"] for family in client.families.list() if family["online"]}
            return set(names) <= online

        wait_until(offered, 90, f"families {names}")

    def processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def stop(self, patience: float = 90) -> int:
        """SIGTERM, then the exit status; what would not end is killed and fails."""
        assert self.process is not None
        family = self.processes()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(patience)
        finally:
            left = [process for process in family if process.is_running()]
            gone, alive = psutil.wait_procs(left, timeout=3)
            for process in alive:
                process.kill()
        assert not alive, f"left running: {alive}"
        self.process = None
        return status

    def log(self) -> str:
        return (self.folder / "up.log").read_text()

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
