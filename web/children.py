"""One process that `atelier up` starts and keeps alive. It knows nothing of what the process does."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from shared.parent import die_with

log = logging.getLogger(__name__)

FIRST_WAIT = 0.5
# Short: a web process that is killed again while it starts is an outage for everybody, and a crash loop at
# this pace costs a part of one core.
LONGEST_WAIT = 5.0
# Whoever lived this long starts again from the shortest wait: a crash loop dies sooner, and what was killed
# twice in a minute is no crash loop.
HEALTHY_SECONDS = 15.0


class Child:
    """Lives in a session of its own, dies with our thread, starts again with growing waits.

    `start`, `tend` and the rest are called from one thread, the one that must live longest: the
    kernel kills the process when the thread that started it ends.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        gated: bool = False,
    ) -> None:
        self.name = name
        self.command = command
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        self._gated = gated
        self._started_at = 0.0
        self._wait = FIRST_WAIT
        self._start_at = 0.0

    def start(self) -> None:
        self._started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env=dict(self.environment),
            stdin=subprocess.PIPE if self._gated else subprocess.DEVNULL,
            start_new_session=True,
            # Safe although marked dangerous: this process has one thread.
            preexec_fn=_prepare(os.getpid()),  # noqa: PLW1509
        )
        log.info("started %s as process %d", self.name, self.process.pid)

    def open_gate(self) -> None:
        """A gated child imports its code and then waits for the end of its input; this is the end."""
        self._gated = False
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def tend(self) -> float:
        """Starts the process again when its wait is over; returns the seconds until there is more to do."""
        if self.process is not None and self._has_ended():
            self._bury()
        if self.process is None:
            left = self._start_at - time.monotonic()
            if left > 0:
                return left
            self.start()
        return LONGEST_WAIT

    def ask_to_stop(self) -> None:
        if self.process is not None and not self._has_ended():
            self.process.send_signal(signal.SIGTERM)

    def wait_until_stopped(self, deadline: float, hurry: Callable[[], bool]) -> None:
        """Waits for the end, at most until `deadline` (monotonic) or until `hurry()`; then kills."""
        while self.process is not None:
            if self._has_ended():
                self._collect()
            elif time.monotonic() >= deadline or hurry():
                log.warning("%s did not stop in time and is killed", self.name)
                self._kill_group()
                self._collect()
            else:
                time.sleep(0.02)

    def _has_ended(self) -> bool:
        # WNOWAIT leaves a zombie, so the pid (and with it the group's id) cannot be taken by others.
        assert self.process is not None
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def _bury(self) -> None:
        code = self._collect()
        if time.monotonic() - self._started_at > HEALTHY_SECONDS:
            self._wait = FIRST_WAIT
        self.deaths += 1
        self._start_at = time.monotonic() + self._wait
        log.error("%s ended with %d and starts again in %.1f s", self.name, code, self._wait)
        self._wait = min(self._wait * 2, LONGEST_WAIT)

    def _collect(self) -> int:
        """Reaps the process together with whatever it left in its group."""
        assert self.process is not None
        self._kill_group()
        code = self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None
        return code

    def _kill_group(self) -> None:
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def _prepare(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        # `atelier up` blocks the signals that it waits for; its children must hear them.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        die_with(parent)

    return prepare
