"""The runner as its supervisor sees it: spawned, listened to from a thread, killed by its process group."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import bare_environment
from worker import link
from worker.runner_output import RunnerOutput

log = logging.getLogger(__name__)

STEPPING_BYTES = 4096
LINGER_SECONDS = 5.0
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Said:
    """A message of a runner."""

    runner: RunnerProcess
    message: Any


@dataclass(frozen=True)
class Died:
    """A runner has ended."""

    runner: RunnerProcess
    status: int  # as subprocess gives it: negative is a signal
    suspects: tuple[str, ...]  # jobs that were being stepped
    out_of_memory: bool  # the kernel killed something for memory while it lived


class RunnerProcess:
    """Spawn it from the thread that outlives it: the runner dies with that thread (PR_SET_PDEATHSIG)."""

    def __init__(self, folder: Path, tell: Callable[[Said | Died], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._lock = threading.Lock()
        self._kernel_kills = _kernel_kills()
        self.killed_for = ""  # why we killed it; empty when it ended by itself
        self._ended = False
        ours, theirs = socket.socketpair()
        self._stepping = folder / "stepping"
        self._stepping.write_bytes(bytes(STEPPING_BYTES))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.runner", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A short spin, then sleep. Long spinners stall each other on a busy machine (beside three
                # busy loops over 0.5 s a step, not 0.14); sleeping at once halves small models on a quiet one.
                env=bare_environment(GOMP_SPINCOUNT="2000"),
                cwd=PACKAGE_FOLDER,
                start_new_session=True,
            )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._output = RunnerOutput(self.pid, self._process.stdout)
        self._link = link.Link.to_runner(ours)
        self._thread = threading.Thread(target=self._listen, name="runner-link", daemon=True)
        self._thread.start()

    def send(self, message: link.Message) -> None:
        """A runner that does not read is killed; its death is told like any other."""
        try:
            self._link.send(message)
        except link.LinkClosed:
            self.kill("deaf")

    def kill(self, why: str) -> None:
        """SIGKILL to its whole process group. May be called from any thread, and twice."""
        with self._lock:
            if self._ended or self.killed_for:
                return
            self.killed_for = why
            log.warning("killing runner %s: %s", self.pid, why)
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.kill()

    def join(self, timeout: float) -> bool:
        """Whether it has ended, after at most `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _listen(self) -> None:
        try:
            while True:
                self._tell(Said(self, self._link.receive()))
        except link.LinkClosed:
            pass
        except link.BadMessage as error:
            log.error("runner %s sent no message: %s", self.pid, error)
            self.kill("bad_message")
        self._wait()
        self._link.close()
        self._output.end(self._process.returncode)
        oom = _kernel_kills() > self._kernel_kills
        self._tell(Died(self, self._process.returncode, self._suspects(), oom))

    def _wait(self) -> None:
        until = time.monotonic() + LINGER_SECONDS
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() > until:
                # it closed the link and lives on: nobody could reach it any more
                self.kill("link_closed")
            time.sleep(0.02)
        with self._lock:
            # Before it is reaped its process group cannot be anybody else's: end what it started.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            self._ended = True

    def _suspects(self) -> tuple[str, ...]:
        try:
            with self._stepping.open("rb") as file:  # the runner may have made it longer
                text = file.read(STEPPING_BYTES).split(b"\0", 1)[0]
        except OSError:
            return ()
        return tuple(text.decode("ascii", "replace").split())


def _kernel_kills() -> int:
    """How many processes the kernel has killed because memory ran out."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    counts = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return sum(counts)
