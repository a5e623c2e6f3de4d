"""What a runner writes to stdout and stderr: its log goes on to ours line by line; anything else may quote a prompt.

A family prints what it likes, and so do the libraries that it uses. Of that only the places of a traceback are logged,
where the runner dies of it. A family that has something to say to the owner of a job calls `run.log()`.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import IO

from shared.log import FIELDS, places

log = logging.getLogger(__name__)

LONGEST_LINE = 1 << 16
LONGEST_TAIL = 4000
PATIENCE = 1.0
STDERR = 2


class RunnerOutput:
    """Reads in a thread of its own until the last writer is gone."""

    def __init__(self, pid: int, source: IO[bytes]) -> None:
        self._pid = pid
        self._source = source
        self._tail = b""
        self._thread = threading.Thread(target=self._read, name="runner-output", daemon=True)
        self._thread.start()

    def end(self, status: int) -> None:
        """Called when the runner has ended. A process that it left behind may hold the other end: no long wait."""
        self._thread.join(PATIENCE)
        if status and (found := places(self._tail.decode(errors="replace"))):
            log.error("runner %s ended with %s: %s", self._pid, status, found)

    def _read(self) -> None:
        with self._source as source:
            while line := source.readline(LONGEST_LINE):
                if _is_logged(line):
                    _pass_on(line)
                    continue
                if not self._tail:
                    log.warning("runner %s prints; that is not shown", self._pid)
                self._tail = (self._tail + line)[-LONGEST_TAIL:]


def _is_logged(line: bytes) -> bool:
    """Whether it is a line of shared.log."""
    if not line.startswith(b"{"):
        return False
    try:
        return set(json.loads(line)) >= FIELDS
    except (ValueError, RecursionError):  # brackets in brackets, as deep as a line is long
        return False


def _pass_on(line: bytes) -> None:
    """In one write, so that lines of several processes do not mix; not by sys.stderr, which Celery redirects."""
    try:
        os.write(STDERR, line)
    except OSError:
        log.debug("a line of the runner's log is lost")
