"""Whether the database has the schema that this code was written for: a worker claims nothing where it has not.

While an upgrade goes on, workers of the old version still run; they must not touch rows that mean something else now.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

VERSIONS = Path(__file__).parent.parent / "migrations" / "versions"
LOOK_SECONDS = 5.0  # between two looks for a table that is missing
REVISION = re.compile(r"(\d{4})_\w+\.py")

log = logging.getLogger(__name__)


def revisions() -> list[str]:
    """What this code can migrate to, in order; read from the files' names, since Alembic is slow to import."""
    return sorted(found[1] for path in VERSIONS.iterdir() if (found := REVISION.match(path.name)))


class Schema:
    """Asked before each claim; says once in the log when the answer changes. For one thread: `tells` is for one of a
    process."""

    def __init__(self, *, tells: bool = True) -> None:
        self._tells = tells
        self._known = revisions()
        self._has_table = False
        self._look_at = 0.0
        self._found = self._known[-1]

    def fits(self, session: Session) -> bool:
        found = self._read(session)
        if found != self._found:
            self._found = found
            if self._tells:
                self._tell()
        return found == self._known[-1]

    def _read(self, session: Session) -> str:
        if not self._has_table and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._has_table = inspect(session.connection()).has_table("alembic_version")
        if not self._has_table:
            return self._known[-1]  # tables that no migration made, as in tests
        return session.scalar(text("SELECT version_num FROM alembic_version")) or ""

    def _tell(self) -> None:
        head = self._known[-1]
        if self._found == head:
            log.info("the database has schema %s again; claiming goes on", head)
            return
        is_older = self._found in self._known or not self._found
        remedy = "run `atelier db upgrade`" if is_older else "this worker needs the newer version"
        log.error(
            "the database has schema %s and this worker knows %s: it claims nothing; %s",
            self._found or "none",
            head,
            remedy,
        )
