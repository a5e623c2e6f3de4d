"""The Celery process: main only starts and replaces its children; the work is in a thread of each child.

main has no SQL connection. A child of a device worker runs the supervisor, a child of the cpu worker
runs short tasks. Both look into SQL by themselves; Celery's messages only make them look sooner.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil
from billiard import current_process
from celery import Celery, signals

from shared.config import Settings
from shared.log import set_up_logging
from shared.parent import die_with
from shared.queue import TASKS_QUEUE, celery_app, wake_queue
from worker.consumer_watch import ConsumerWatch
from worker.presence import worker_id_of
from worker.pulse import Pulse
from worker.supervisor import LAST_SECONDS, STOP_SECONDS, Supervisor
from worker.tasks import TaskRunner, add_tasks

log = logging.getLogger(__name__)

DEVICE_LANES = ("interactive", "batch", "train")
CPU_CHILDREN = 2
# Without a live child for so long, main ends: with Redis away Celery does not replace one.
CHILDLESS_SECONDS = 10.0
EXIT_CHILDLESS = 71
EXIT_STUCK = 72
LOOK_SECONDS = 1.0
ASK_SECONDS = 5.0
BUSY_SECONDS = 10.0


class Work(Protocol):
    """What a child does."""

    def start(self) -> None: ...
    def wake(self, lane: str = "") -> None: ...
    def stop(self, timeout: float) -> bool: ...


@dataclass
class WorkerApp:
    """One Celery worker process: `run` returns its exit status."""

    settings: Settings
    kind: str  # device | cpu
    name: str
    work: Work | None = None  # in a child
    main_pid: int = field(default_factory=os.getpid)
    shutting_down: threading.Event = field(default_factory=threading.Event)
    pulse: Pulse = field(default_factory=lambda: Pulse(CPU_CHILDREN))

    def run(self) -> int:
        # Connected first: it keeps Celery from setting up logging of its own.
        signals.setup_logging.connect(self._set_up_logging, weak=False)
        signals.worker_process_init.connect(self._begin_child, weak=False)
        signals.worker_process_shutdown.connect(self._end_child, weak=False)
        signals.worker_shutting_down.connect(self._mark_shutdown, weak=False)
        app = celery_app(self.settings)
        add_tasks(app, self.settings, self._wake)
        for watch in (self._watch_children, self._watch_consumer):
            threading.Thread(target=watch, name=watch.__name__, daemon=True).start()
        worker = self._celery_worker(app)
        worker.start()
        return int(worker.exitcode or 0)

    def _celery_worker(self, app: Celery) -> Any:
        return app.Worker(
            hostname=worker_id_of(self.name),
            pool_cls="prefork",
            concurrency=1 if self.kind == "device" else CPU_CHILDREN,
            queues=self._queues(),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )

    def _queues(self) -> list[str]:
        if self.kind == "device":
            return [wake_queue(lane) for lane in DEVICE_LANES]
        return [TASKS_QUEUE]

    # ---- in main --------------------------------------------------------------------------------

    def _set_up_logging(self, **_: Any) -> None:
        set_up_logging(self.settings.log_level)

    def _mark_shutdown(self, **_: Any) -> None:
        self.shutting_down.set()

    def _watch_children(self) -> None:
        """Kills a child that has frozen; ends main when none lives, so that who started it can start it again."""
        me = psutil.Process()
        seen = time.monotonic()
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                living = _living(me)
                self._kill_frozen(living)
            except Exception:
                log.exception("could not look at the children")
                continue
            if living:
                seen = time.monotonic()
            elif time.monotonic() - seen > CHILDLESS_SECONDS:
                if self.shutting_down.is_set():
                    os._exit(0)
                log.critical("no child for %s s", CHILDLESS_SECONDS)
                os._exit(EXIT_CHILDLESS)

    def _watch_consumer(self) -> None:
        """Ends main when Celery has stopped consuming; its children drain first."""
        watch = ConsumerWatch(self.settings, self._queues())
        # a child that turns, however busy the database is
        looks = (2 * self.settings.poll_seconds + BUSY_SECONDS) / LOOK_SECONDS
        while not self.shutting_down.wait(ASK_SECONDS):
            try:
                is_stuck = watch.is_stuck(somebody_works=self.pulse.is_counting(looks))
            except Exception:
                log.exception("could not look at the queues")
                continue
            if is_stuck:
                self._end_stuck()

    def _end_stuck(self) -> None:
        log.critical("Redis answers and Celery consumes nothing; ending")
        children = _living(psutil.Process())
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        psutil.wait_procs(children, timeout=self._longest_end())
        os._exit(EXIT_STUCK)

    def _longest_end(self) -> float:
        return self.settings.drain_seconds + LAST_SECONDS + STOP_SECONDS

    def _kill_frozen(self, children: list[psutil.Process]) -> None:
        """A stopped process cannot be asked anything; SIGKILL ends it all the same, and frees the locks it holds."""
        looks = self.settings.frozen_seconds / LOOK_SECONDS
        for pid in self.pulse.frozen([child.pid for child in children], looks):
            log.critical("child %s made no turn for %s s and is killed", pid, int(looks))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # ---- in a child -------------------------------------------------------------------------------

    def _begin_child(self, **_: Any) -> None:
        die_with(self.main_pid)
        set_up_logging(self.settings.log_level)
        self.pulse.begin(current_process().index)  # type: ignore[attr-defined]
        worker_id = worker_id_of(self.name)
        if self.kind == "device":
            self.work = Supervisor(self.settings, worker_id, beat=self.pulse.beat)
        else:
            self.work = TaskRunner(self.settings, worker_id, beat=self.pulse.beat)
        self.work.start()

    def _wake(self, lane: str) -> None:
        if self.work is not None:
            self.work.wake(lane)

    def _end_child(self, **_: Any) -> None:
        for sig in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
            # A second signal must not cut the drain short; SIGKILL still does.
            signal.signal(sig, signal.SIG_IGN)
        if self.work is None:
            return
        longest = self._longest_end()
        if not self.work.stop(longest):
            log.error("not drained within %s s", longest)


def _living(process: psutil.Process) -> list[psutil.Process]:
    """Its children that can still do something. Billiard may reap one at any moment."""
    living = []
    with suppress(psutil.Error):
        for child in process.children():
            with suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE:
                    living.append(child)
    return living
