"""The thread of a cpu worker's child that sends what webhooks are owed, a few at a time in threads of their own, so
that a receiver who takes his time keeps no dataset check waiting and no other receiver either.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

from sqlalchemy.exc import SQLAlchemyError

from shared import webhook_targets, webhooks
from shared.config import Settings
from shared.db import Database, cause, is_away
from shared.failpoints import failpoint
from shared.schema import Schema
from shared.webhooks import Parcel, Reply
from worker import posting

log = logging.getLogger(__name__)

LINES = 8  # at once, in this process
AGAIN_SECONDS = 0.5


class Courier:
    """Claims, sends, writes how it went; until it is stopped."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._networks = webhook_targets.networks_of(settings.webhook_networks)
        self._schema = Schema(tells=False)  # the thread of the short tasks does
        self._pool = ThreadPoolExecutor(LINES, thread_name_prefix="courier")
        self._sending: set[Future[None]] = set()
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """What is being sent is awaited; whatever takes longer is sent again by someone else."""
        self._stopping.set()
        self._awake.set()
        until = time.monotonic() + timeout
        if self._thread.ident is not None:
            self._thread.join(timeout)
        wait(self._sending, max(0.0, until - time.monotonic()))
        self._pool.shutdown(wait=False)
        return not any(one.running() for one in self._sending)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._awake.clear()
            try:
                self.send_due()
            except SQLAlchemyError as error:
                log.warning("webhooks wait for the database: %s", cause(error))
            except Exception:
                log.exception("webhooks could not be sent")
            self._awake.wait(self._settings.poll_seconds)

    def send_due(self) -> None:
        """Hands what is due to the lines that are free; each wakes this thread when it is done."""
        self._sending = {one for one in self._sending if not one.done()}
        while parcels := self._claim(LINES - len(self._sending)):
            for parcel in parcels:
                future = self._pool.submit(self._send, parcel)
                self._sending.add(future)
                future.add_done_callback(lambda _: self._awake.set())

    def _claim(self, most: int) -> list[Parcel]:
        if most <= 0 or self._stopping.is_set():
            return []
        with self._db.reading() as session:
            found = webhooks.candidates(session, most) if self._schema.fits(session) else []
        if not found:
            return []
        with self._db.writing() as session:
            parcels = webhooks.claim(session, found, self._settings.lease_seconds)
            # after it: the claim may have waited for a migration to let go of the tables
            if not self._schema.fits(session):
                session.rollback()
                return []
        return parcels

    def _send(self, parcel: Parcel) -> None:
        began = time.monotonic()
        # a lease is longer than an attempt, or two would send the same
        seconds = min(posting.LONGEST_SECONDS, self._settings.lease_seconds / 2)
        try:
            headers = parcel.headers(time.time())
            reply = posting.post(parcel.url, parcel.body.encode(), headers, self._networks, seconds)
        except Exception:
            log.exception("message %s to webhook %s", parcel.id, parcel.webhook_id)
            reply = Reply(error="failure")  # by the schedule all the same
        failpoint("webhook_answered")
        log.info(
            "message %s to webhook %s, attempt %s: %s %s",
            *(parcel.id, parcel.webhook_id, parcel.attempts, reply.status or "", reply.error),
        )
        self._settle(parcel, reply, began + self._settings.lease_seconds)

    def _settle(self, parcel: Parcel, reply: Reply, until: float) -> None:
        """However long the database is away, while the lease may hold: what is not written is sent again."""
        while True:
            try:
                with self._db.writing() as session:
                    webhooks.settle(session, parcel, reply)
                return
            except SQLAlchemyError as error:
                if not is_away(error) or time.monotonic() > until or self._stopping.is_set():
                    log.warning("message %s will be sent again: %s", parcel.id, cause(error))
                    return
                time.sleep(AGAIN_SECONDS)
