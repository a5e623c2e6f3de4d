"""What every service needs, made once for a process: settings, database, storage, wake-ups, the feed."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.config import Settings
from shared.db import Database
from shared.queue import Wakeups
from shared.storage import Storage
from shared.storages import SHORT_PATIENCE, open_storage
from web.feed import Feed
from web.throttle import Throttle


@dataclass(frozen=True)
class Studio:
    """Handed to every service as its first argument."""

    settings: Settings
    db: Database
    storage: Storage
    wakeups: Wakeups
    feed: Feed
    throttle: Throttle = field(default_factory=Throttle)
    # users who held far less than they may: until when, under which limit, nobody sums that up again (room.py)
    ample: dict[str, tuple[float, int]] = field(default_factory=dict)

    def close(self) -> None:
        self.feed.close()
        self.wakeups.close()
        self.db.dispose()


def open_studio(settings: Settings) -> Studio:
    """A studio on these settings. Nothing is connected and no thread runs before it is used."""
    settings.data.mkdir(parents=True, exist_ok=True)
    # one connection for each busy thread; waiting threads and open streams hold none
    db = Database(settings.database, pool_size=max(5, settings.web_threads // 4))
    return Studio(
        settings=settings,
        db=db,
        storage=open_storage(settings, SHORT_PATIENCE),
        wakeups=Wakeups(settings),
        feed=Feed(db, most_waiters=settings.event_streams),
    )
