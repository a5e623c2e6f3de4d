"""This worker's row: who it is, what it can run, and that it lives."""

from __future__ import annotations

import logging
import os
import re
import socket
from typing import Any

from sqlalchemy.orm import Session

from shared import catalog, tallies
from shared.announcements import problems_of
from shared.db import clock
from shared.models import Worker
from worker import link

log = logging.getLogger(__name__)

# Long before a version counts as gone.
KEEP_ALIVE_SECONDS = 60.0


def worker_id_of(name: str) -> str:
    """The same for every life of one worker, different on another host; safe as a folder's name."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:30]
    return f"{name}.{host}"[:64]


class Presence:
    def __init__(self, worker_id: str, kind: str) -> None:
        self.worker_id = worker_id
        self.versions: dict[str, int] = {}
        self._kind = kind
        self._hello: link.Hello | None = None
        self._families: list[dict[str, Any]] = []
        self._kept_alive = 0.0
        self._memory_bytes = 0  # of the device, in use when the runner last said so
        self._used = 0.0  # device-seconds since they were last written
        self._deaths = 0
        self._told_at = 0.0

    def heard(self, beat: link.Beat) -> None:
        """How long the runner had the device, and what it holds of it."""
        self._used += sum(beat.used.values())
        self._memory_bytes = beat.memory_bytes

    def runner_died(self) -> None:
        self._deaths += 1
        self._memory_bytes = 0

    def greet(self, hello: link.Hello) -> None:
        """What the runner says that it can do. It runs other people's code: what web could not use is left out."""
        self._hello = hello
        self._families = []
        for family in hello.families:
            if problems := problems_of(family):
                log.error("a family is left out: %s", "; ".join(problems))
            else:
                self._families.append(family)
        self.versions = {family["name"]: family["version"] for family in self._families}

    def announce(self, session: Session) -> None:
        for announcement in self._families:
            catalog.announce(session, announcement)

    def write(self, session: Session, state: str) -> None:
        """Renews the row; makes it first where it is missing."""
        at = clock(session)
        row = session.get(Worker, self.worker_id)
        if row is None:
            row = Worker(id=self.worker_id, kind=self._kind, families={}, facts={}, started_at=at)
            session.add(row)
        elif row.pid != os.getpid():
            row.started_at = at
        row.host, row.pid, row.state, row.heartbeat_at = (
            socket.gethostname(),
            os.getpid(),
            state,
            at,
        )
        if self._hello:
            row.device = self._hello.device
            row.facts = self._hello.facts | {"memory_used_bytes": self._memory_bytes}
            row.families = self.versions
        if at - self._kept_alive > KEEP_ALIVE_SECONDS:
            catalog.keep_alive(session, self.versions)
            self._kept_alive = at

        self._tell(session, at)

    def _tell(self, session: Session, at: float) -> None:
        """What /metrics shows of this worker. Told too little if the transaction fails, never twice."""
        used, self._used = self._used, 0.0
        deaths, self._deaths = self._deaths, 0
        if self._kind != "device":
            return
        if self._told_at:
            busy = min(1.0, used / max(at - self._told_at, 1e-3))
            tallies.put(session, "device_busy", self.worker_id, busy)
        tallies.count(session, "device_seconds", self.worker_id, used)
        if deaths:
            tallies.count(session, "runner_deaths", self.worker_id, deaths)
        self._told_at = at

    def drain_requested(self, session: Session) -> bool:
        row = session.get(Worker, self.worker_id)
        return row is not None and row.drain_requested_at is not None
