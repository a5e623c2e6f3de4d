"""The fetching thread: prepares run folders while the supervisor goes on renewing leases."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from shared.log import job_id
from worker import link
from worker.device_run import Fetcher
from worker.held import Held

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A run folder is ready, or it is not going to be."""

    held: Held
    start: link.Start | None
    error: Exception | None = None


class Fetching:
    def __init__(self, fetcher: Fetcher, tell: Callable[[Prepared], None]) -> None:
        self._fetcher = fetcher
        self._tell = tell
        self._work: SimpleQueue[Held] = SimpleQueue()
        threading.Thread(target=self._run, name="fetching", daemon=True).start()

    def prepare(self, held: Held) -> None:
        self._work.put(held)

    def _run(self) -> None:
        while True:
            held = self._work.get()
            job_id.set(held.lease.job_id)
            try:
                prepared = Prepared(held, self._fetcher.prepare(held))
            except Exception as error:
                log.warning("not prepared", exc_info=True)
                prepared = Prepared(held, None, error)
            job_id.set("")
            self._tell(prepared)
