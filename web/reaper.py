"""The reaper of the web process: ends or re-queues jobs that nobody else will, also while no worker is alive."""

from __future__ import annotations

import logging
import threading

from shared import jobs, retention, scheduling
from web.services.studio import Studio

TIDY_EVERY = 120  # rounds

log = logging.getLogger(__name__)


def start(studio: Studio) -> threading.Thread:
    thread = threading.Thread(target=_run, args=(studio,), name="reaper", daemon=True)
    thread.start()
    return thread


def _run(studio: Studio) -> None:
    rounds = 0
    while not studio.feed.closed.wait(studio.settings.reap_seconds):
        try:
            reap(studio)
            if rounds % TIDY_EVERY == 0:
                tidy(studio)
        except Exception as error:
            # the database may be away for a while; the next round tries again
            log.warning("the reaper could not work: %s", error)
        rounds += 1


def reap(studio: Studio) -> int:
    """One round. Returns how many jobs changed."""
    settings = studio.settings
    with studio.db.writing() as session:
        changed = jobs.reap(
            session,
            version_gone_seconds=settings.version_gone_seconds,
            backoff_seconds=settings.backoff_seconds,
        )
    if changed:
        for lane in scheduling.LANES:
            studio.wakeups.wake(lane)
    return changed


def tidy(studio: Studio) -> None:
    """Forgets the rows whose time is over, also while no worker is there to sweep."""
    with studio.db.writing() as session:
        retention.forget_old_rows(session, studio.settings)
