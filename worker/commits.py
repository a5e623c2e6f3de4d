"""Transactions that must be written, however long the database is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.db import Database, is_away
from shared.errors import Unavailable
from shared.job_records import Lease
from shared.models import Job, Result

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_SECONDS = 0.5


class Commits:
    def __init__(self, db: Database, giving_up: threading.Event) -> None:
        self._db = db
        self._giving_up = giving_up

    def write(self, write: Callable[[Session], T], applied: Callable[[Session], bool]) -> T | None:
        """Commits, however long the database is away; None when an attempt that seemed to fail did apply.

        A commit whose answer was lost may have been applied, so the rows are asked before the next attempt.
        """
        while True:
            try:
                with self._db.writing() as session:
                    return write(session)
            except DBAPIError as error:
                if not is_away(error):
                    raise
                log.warning("not written yet: %s", error.orig)
            while not self._giving_up.wait(RETRY_SECONDS):
                try:
                    with self._db.reading() as session:
                        if applied(session):
                            return None
                    break
                except DBAPIError as error:
                    if not is_away(error):
                        raise
                    log.warning("the database is still away: %s", error.orig)
            else:
                raise Unavailable("The database did not come back in time.")


def has_result(session: Session, lease: Lease) -> bool:
    result = session.get(Result, lease.job_id)
    return result is not None and result.fence == lease.fence


def is_held(session: Session, lease: Lease) -> bool:
    held = select(Job.id).where(
        Job.id == lease.job_id, Job.fence == lease.fence, Job.state == "running"
    )
    return session.scalar(held) is not None
