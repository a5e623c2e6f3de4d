"""Sees that Celery consumes nothing any more although Redis answers: the oldest message of a queue of ours stays.

Work goes on without it, since children look into SQL by themselves, but such a main hears no signal and replaces no
child.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis import RedisError

from shared.config import Settings
from shared.queue import redis_client

# kombu ends a connection that went silent by itself, within 51 s
STUCK_SECONDS = 55.0


class ConsumerWatch:
    def __init__(self, settings: Settings, queues: Sequence[str]) -> None:
        self._redis = redis_client(settings)
        self._keys = [settings.redis_prefix + queue for queue in queues]
        self._oldest: dict[str, tuple[Any, float]] = {}  # of each queue, and since when

    def is_stuck(self, *, somebody_works: bool = True) -> bool:
        """Asks Redis; while that does not answer, or all children stand still, nobody can consume: nothing is judged,
        and the wait begins anew."""
        now = time.monotonic()
        if not somebody_works:
            self._oldest = {}
            return False
        try:
            found = {key: self._redis.lindex(key, -1) for key in self._keys}
        except RedisError:
            self._oldest = {}
            return False
        before = self._oldest
        self._oldest = {
            key: before[key] if key in before and before[key][0] == message else (message, now)
            for key, message in found.items()
            if message is not None
        }
        return any(now - since > STUCK_SECONDS for _, since in self._oldest.values())
