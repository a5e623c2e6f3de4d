"""Breaks things: kills, stops and wakes processes, drains workers, empties Redis; and notes what each fault hit."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import redis
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from shared.config import Settings
from shared.db import Database, clock
from shared.models import Job
from shared.queue import redis_client
from worker.chaos.installation import Installation
from worker.chaos.plan import Fault
from worker.presence import worker_id_of

LOOK_SECONDS = 0.1
# What takes the jobs of a device worker with it; a stopped main harms nobody.
DEVICE_VICTIMS = ("main", "child", "runner")


@dataclass(frozen=True)
class Hit:
    """A fault that found something to break. Times are the database's."""

    at: float
    kind: str
    until: float  # when a stopped process went on
    owner: str = ""  # the device worker that was hit
    jobs: tuple[tuple[str, int], ...] = ()  # what it ran: (id, fence)

    @property
    def is_kill(self) -> bool:
        return self.kind.startswith("kill")


@dataclass
class Outages:
    """When Redis and web were away, by our own clock; open ones have no end yet."""

    redis: list[list[float]] = field(default_factory=list)
    web: list[list[float]] = field(default_factory=list)

    def begin(self, service: str) -> None:
        spans = getattr(self, service)
        if not spans or len(spans[-1]) == 2:
            spans.append([time.time()])

    def end(self, service: str) -> None:
        spans = getattr(self, service)
        if spans and len(spans[-1]) == 1:
            spans[-1].append(time.time())

    def overlap(self, service: str, begin: float, end: float) -> bool:
        spans: list[list[float]] = getattr(self, service)
        return any(span[0] < end and begin < (*span, end)[1] for span in list(spans))

    def is_open(self, service: str) -> bool:
        spans: list[list[float]] = getattr(self, service)
        return bool(spans) and len(spans[-1]) == 1

    def lengths(self, service: str) -> list[float]:
        return [span[1] - span[0] for span in getattr(self, service) if len(span) == 2]


class Breaker:
    """Injects faults; may be called from several threads."""

    def __init__(self, settings: Settings, db: Database, installation: Installation) -> None:
        self._settings, self._db, self._installation = settings, db, installation
        self._lock = threading.Lock()
        self._stopped: list[tuple[float, psutil.Process]] = []
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="chaos-watch", daemon=True)
        self.hits: list[Hit] = []
        self.missed = 0  # faults that found nothing to break
        self.outages = Outages()
        self.offset = 0.0  # what the database's clock is ahead of ours

    def start(self) -> None:
        with self._db.reading() as session:
            self.offset = clock(session) - time.time()
        self._watcher.start()

    def inject(self, fault: Fault) -> None:
        action, _, target = fault.kind.partition(" ")
        with self._lock:
            if fault.kind == "flush":
                self._flush()
            else:
                self._hit_process(fault, action, target or "main")

    def kill_owner(self, owner: str) -> bool:
        """SIGKILL for the main process of this worker, for a cancel that finds its owner dead."""
        with self._lock:
            for victim in self._installation.mains():
                if _owner_of(victim) == owner:
                    return self._strike("kill main", victim, signal.SIGKILL, 0.0)
        return False

    def wake_due(self, *, everything: bool = False) -> None:
        """SIGCONT for those whose time is over."""
        with self._lock:
            due = [p for at, p in self._stopped if everything or at <= time.monotonic()]
            self._stopped = [(at, p) for at, p in self._stopped if p not in due]
        for process in due:
            with suppress(psutil.Error):
                process.resume()

    def end(self) -> None:
        self.wake_due(everything=True)
        self._over.set()
        self._watcher.join(5)

    # ---- one fault ---------------------------------------------------------------------------------

    def _hit_process(self, fault: Fault, action: str, target: str) -> None:
        victims = self._victims(target)
        if not victims:
            self.missed += 1
            return
        victim = victims[int(fault.draw * len(victims))]
        sig = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "drain": signal.SIGTERM}[action]
        if not self._strike(fault.kind, victim, sig, fault.seconds if action == "stop" else 0.0):
            self.missed += 1

    def _victims(self, target: str) -> list[psutil.Process]:
        if target == "main":
            return self._installation.mains()
        if target == "child":
            return self._installation.children()
        return self._installation.named(target)

    def _strike(self, kind: str, victim: psutil.Process, sig: int, seconds: float) -> bool:
        owner = _owner_of(victim) if kind.rpartition(" ")[2] in (*DEVICE_VICTIMS, "drain") else ""
        jobs = self._running(owner) if owner else ()
        service = kind.partition(" ")[2]
        try:
            victim.send_signal(sig)
        except psutil.Error:
            return False
        at = time.time() + self.offset
        if service in ("web", "redis"):
            self.outages.begin(service)
        if seconds:
            self._stopped.append((time.monotonic() + seconds, victim))
        self.hits.append(Hit(at, kind, at + seconds, owner, jobs))
        return True

    def _flush(self) -> None:
        try:
            with redis_client(self._settings) as client:
                client.flushall()
        except redis.RedisError:
            self.missed += 1
            return
        at = time.time() + self.offset
        self.hits.append(Hit(at, "flush", at))

    def _running(self, owner: str) -> tuple[tuple[str, int], ...]:
        query = select(Job.id, Job.fence).where(Job.state == "running", Job.owner == owner)
        with suppress(SQLAlchemyError), self._db.reading() as session:
            return tuple((job_id, fence) for job_id, fence in session.execute(query))
        return ()

    # ---- when the services are back -------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            if self.outages.is_open("redis") and self._redis_answers():
                self.outages.end("redis")
            if self.outages.is_open("web") and self._installation.is_ready():
                self.outages.end("web")

    def _redis_answers(self) -> bool:
        with suppress(redis.RedisError), redis_client(self._settings) as client:
            return bool(client.ping())
        return False


def _owner_of(process: psutil.Process) -> str:
    """The worker that this process belongs to; a runner says it through its parent."""
    with suppress(psutil.Error):
        line = process.cmdline()
        if "--name" not in line:
            parent = process.parent()
            line = parent.cmdline() if parent else []
        if "--name" in line:
            return worker_id_of(line[line.index("--name") + 1])
    return ""
