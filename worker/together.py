"""Generations that end in one transaction: a commit costs as much for many as for one.

Each is guarded by its own fence in a savepoint of its own, so one that cannot be written spoils no other.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy.orm import Session

from shared import jobs, shares
from shared.db import is_away
from shared.job_records import Outcome, Report
from worker.held import Held

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Finished:
    """A generation whose files are stored and whose end is not written yet."""

    held: Held
    outcome: Outcome
    last: Report | None  # what it said and nobody wrote


def publish(session: Session, finished: list[Finished], log_bytes: int) -> list[Finished]:
    """Those that succeeded in this transaction. In the order of heartbeats, which take the same rows."""
    return [
        one
        for one in sorted(finished, key=lambda one: one.held.lease)
        if _published(session, one, log_bytes)
    ]


def _published(session: Session, one: Finished, log_bytes: int) -> bool:
    lease = one.held.lease
    try:
        with shares.apart(session):
            if one.last is not None:
                jobs.report(session, lease, one.last, most_log_bytes=log_bytes)
            jobs.succeed(session, lease, one.outcome)
    except Exception as error:
        if is_away(error):
            raise
        # A lost lease, or a row that the database does not take: it ends by itself, as any other.
        log.warning("%s is not published with the others: %s", lease.job_id, type(error).__name__)
        return False
    return True
