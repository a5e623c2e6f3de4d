"""A whole installation as people start it, `atelier up`, and the processes it is made of."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

from shared.parent import die_with

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 90.0
STOP_SECONDS = 90.0
# How a process is known by its command line; children share their parent's.
COMMANDS = {
    "web": "web.server",
    "device": "worker device",
    "cpu": "worker cpu",
    "runner": "worker.runner",
    "redis": "valkey-server",
}


def wait_until(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer of `check`; raises TimeoutError after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        if answer := check():
            return answer
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Installation:
    """`environment` names the data folder, the port and all settings."""

    def __init__(self, environment: Mapping[str, str], log: Path, port: int) -> None:
        self.environment = environment
        self.log_path = log
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.ready_seconds = 0.0
        self.seen: set[psutil.Process] = set()

    def atelier(self, *arguments: str) -> str:
        """Runs one command of the command line; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "web.cli", *arguments],
            cwd=ROOT,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"atelier {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def start(self) -> None:
        started = time.monotonic()
        parent = os.getpid()
        with self.log_path.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "web.cli", "up"],
                cwd=ROOT,
                env=dict(self.environment),
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 - before any thread of ours
            )
        wait_until(self.is_ready, START_SECONDS, "/readyz answers 200")
        self.ready_seconds = time.monotonic() - started

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    def token_of(self, name: str) -> str:
        """Makes the account; its token."""
        return self.atelier("user", "create", name).splitlines()[-1]

    def processes(self) -> list[psutil.Process]:
        """`atelier up` first, then everything below it."""
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            found = [parent, *parent.children(recursive=True)]
            self.seen.update(found)
            return found
        return []

    def named(self, name: str) -> list[psutil.Process]:
        """The living processes of one of COMMANDS, in order of their age."""
        found = []
        for process in self.processes()[1:]:
            with suppress(psutil.Error):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and COMMANDS[name] in " ".join(process.cmdline()):
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def mains(self, name: str = "device") -> list[psutil.Process]:
        """Celery's main processes: those that `atelier up` itself has started."""
        return [p for p in self.named(name) if self.process and _parent(p) == self.process.pid]

    def children(self, name: str = "device") -> list[psutil.Process]:
        """The supervisors (or the children of the cpu worker)."""
        mains = {process.pid for process in self.mains(name)}
        return [process for process in self.named(name) if _parent(process) in mains]

    def stop(self, patience: float = STOP_SECONDS) -> int:
        """SIGTERM, then the exit status."""
        if self.process is None:
            return 0
        self.processes()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(patience)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None

    def left_running(self, patience: float = 5.0) -> list[psutil.Process]:
        """What is still there after the stop, and is then killed."""
        _, alive = psutil.wait_procs(list(self.seen), timeout=patience)
        left = [p for p in alive if _is_alive(p)]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        return left

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


def _parent(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.ppid())
    return 0


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
