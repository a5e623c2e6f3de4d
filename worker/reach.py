"""The storage, for a thread that does one thing after the other: while it is away not each of them waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import StorageAway

AWAY_SECONDS = 10.0


class Reach:
    """A call that waited in vain, for as long as the storage's own patience, speaks for those of the next seconds."""

    def __init__(self) -> None:
        self._away_until = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if time.monotonic() < self._away_until:
            raise StorageAway()
        try:
            yield
        except StorageAway as error:
            # of its kinds, only what damaged one file is answered by a storage that is there
            if type(error) is StorageAway:
                self._away_until = time.monotonic() + AWAY_SECONDS
            raise
