"""The server of the demo: `atelier up` on a temporary folder and a free port, gone without a trace afterwards."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx

from atelier_client.client import Client
from atelier_client.errors import ClientError

READY_SECONDS = 120
STOP_SECONDS = 90
COMMAND = (sys.executable, "-m", "web.cli")


class DemoServer:
    """Starts in `with`, stops at its end, and complains about anything that is left running."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.folder = Path(tempfile.mkdtemp(prefix="atelier-demo-"))
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoServer:
        options = ("--host", "127.0.0.1", "--port", str(self.port), "--data", str(self.folder))
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                (*COMMAND, "up", *options), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def new_client(self, name: str) -> Client:
        made = subprocess.run(
            (*COMMAND, "user", "create", name, "--data", str(self.folder)),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ClientError(made.stderr.strip())
        return Client(self.url, made.stdout.strip())

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ClientError(f"`atelier up` ended with {self._process.returncode}")
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise ClientError(f"`atelier up` was not ready within {READY_SECONDS} s")

    def _stop(self) -> None:
        assert self._process is not None
        started = _descendants(self._process.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # everything else dies with it
            self._process.kill()
            code = self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        left = [pid for pid, born in started.items() if _born(pid) == born]
        if code or left:
            raise ClientError(
                f"`atelier up` ended with {code} and left {left or 'nothing'} running"
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _descendants(root: int) -> dict[int, str]:
    """Process id -> time of birth, which tells it from a later process with the same id."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(entry.name)):
            parents[int(entry.name)] = int(fields[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: _born(pid) for pid in found - {root}}


def _born(pid: int) -> str:
    fields = _stat(pid)
    # a zombie holds nothing any more
    return fields[19] if fields and fields[0] != "Z" else ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
