"""Keeps a runner running: starts it again with a wait, finds it deaf, and kills it before a lease can end."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from shared.config import Settings
from worker import link
from worker.runner_process import Died, RunnerProcess, Said

log = logging.getLogger(__name__)

RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0)
STEADY_SECONDS = 60.0
# Importing torch from a cold disk, and a first step that compiles, take their time.
FIRST_SECONDS = 300.0
DEAF_STEPS = 20


class RunnerWatch:
    """The runner of one supervisor. Everything but `guard` is called from the supervisor's thread."""

    def __init__(
        self, settings: Settings, folder: Path, tell: Callable[[Said | Died], None]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._tell = tell
        self.runner: RunnerProcess | None = None
        self.hello: link.Hello | None = None
        self.guard = LeaseGuard(settings.lease_seconds, lambda: self.kill("lease"))
        self._deaths = 0
        self._jobs = 0  # that this runner was given
        self._retired = False  # it was told to end, to start anew
        self._next_start = 0.0
        self._started = 0.0
        self._last_heard = 0.0
        self._gaps: deque[float] = deque(maxlen=200)

    @property
    def ready(self) -> bool:
        return self.hello is not None

    def ensure(self, now: float) -> None:
        """Starts a runner when there is none and the wait is over."""
        if self.runner is not None or now < self._next_start:
            return
        try:
            self.runner = RunnerProcess(self._folder, self._tell)
        except OSError:
            log.exception("no runner can be started")
            self._wait_longer(now)
            return
        self._started = self._last_heard = now
        self._jobs, self._retired = 0, False
        self._gaps.clear()
        self.runner.send(self._configure())

    def _configure(self) -> link.Configure:
        settings = self._settings
        return link.Configure(
            folder=str(self._folder),
            device=settings.device,
            threads=settings.threads,
            families=[name.strip() for name in settings.families.split(",") if name.strip()],
            family_path=[path for path in settings.family_path.split(":") if path],
            checkpoint_seconds=settings.checkpoint_seconds,
            memory_bytes=settings.runner_memory_bytes,
            producer=settings.label_producer,
        )

    def send(self, message: link.Message) -> None:
        if self.runner is not None:
            self._jobs += isinstance(message, link.Start)
            self.runner.send(message)

    def renew_if_worn(self) -> None:
        """Called while nothing is held: a runner that has run many jobs ends, and with it what they left in it."""
        if self.ready and 0 < self._settings.runner_jobs <= self._jobs:
            log.info("the runner has run %s jobs; starting a new one", self._jobs)
            self.hello = None  # nothing is claimed for it any more
            self._retired = True
            self.send(link.Stop())

    def kill(self, why: str) -> None:
        runner = self.runner
        if runner is not None:
            runner.kill(why)

    def heard(self, now: float, working: bool) -> None:
        if working:
            self._gaps.append(now - self._last_heard)
        self._last_heard = now

    def find_deaf(self, now: float, *, working: bool, first: bool) -> None:
        """Kills a runner that has been silent for too long while it had something to do."""
        if self.runner is None:
            return
        if self.ready and not working:
            self._last_heard = now
            return
        limit = self._settings.deaf_seconds
        if self._gaps:
            limit = max(limit, DEAF_STEPS * statistics.median(self._gaps))
        if first or not self.ready:
            limit = max(limit, FIRST_SECONDS)
        if now - self._last_heard > limit:
            self.kill("deaf")

    def died(self, now: float) -> None:
        self.runner = self.hello = None
        if self._retired:
            self._next_start = now
        else:
            self._wait_longer(now)

    def _wait_longer(self, now: float) -> None:
        if now - self._started > STEADY_SECONDS:
            self._deaths = 0
        wait = RESTART_SECONDS[min(self._deaths, len(RESTART_SECONDS) - 1)]
        self._deaths += 1
        self._next_start = now + wait

    def stop(self, timeout: float) -> None:
        """Ends the runner; by force when it does not go."""
        self.guard.release()
        if self.runner is None:
            return
        self.runner.send(link.Stop())
        if not self.runner.join(timeout):
            self.runner.kill("stop")
            self.runner.join(timeout)


class LeaseGuard:
    """A thread of its own, so that a database that hangs cannot keep the runner alive past its leases.

    It goes by the monotonic clock from before the last renewal that succeeded.
    """

    def __init__(self, lease_seconds: float, kill: Callable[[], None]) -> None:
        self._allowed = lease_seconds - 10 if lease_seconds >= 30 else lease_seconds * 2 / 3
        self._kill = kill
        self._until: float | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="lease-guard", daemon=True).start()

    def hold_from(self, renewed: float) -> None:
        with self._changed:
            self._until = renewed + self._allowed
            self._changed.notify()

    def release(self) -> None:
        with self._changed:
            self._until = None
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                left = None if self._until is None else self._until - time.monotonic()
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                self._until = None
            log.error("the leases could not be renewed in time")
            self._kill()
