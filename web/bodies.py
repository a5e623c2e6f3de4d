"""Bodies that trickle in hold a thread each: only so many may arrive at a time, and of one address only half of those.

The server cannot be told to give up on a slow body, and a read that waits cannot be interrupted. So the threads that
may wait are counted: pages, polls and event streams go on however many bodies are left unfinished.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from shared.config import Settings
from shared.errors import Unavailable

# What has arrived is read in less, however many ask at once.
WAIT_SECONDS = 0.5


class TooManyBodies(Unavailable):
    """Too many requests are still being received; try again shortly."""

    code = "too_many_bodies"


class Bodies:
    """A WSGI application around another one, which reads its bodies through a `_Counted`."""

    def __init__(self, application: Any, settings: Settings) -> None:
        self._application = application
        free = settings.web_threads - settings.event_streams
        self._most = max(1, free * 3 // 4)
        self._most_of_one = max(1, self._most // 2)
        self._most_waiting, self._waiting = max(1, (free - self._most) // 2), 0
        self._arriving: Counter[str] = Counter()
        self._changed = threading.Condition()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = _Counted(self, environ["wsgi.input"], environ)
        environ["wsgi.input"] = body
        try:
            answer: Iterable[bytes] = self._application(environ, start_response)
        finally:
            body.leave()
        return answer

    def enter(self, address: str) -> None:
        """Raises TooManyBodies when no place becomes free in a moment."""
        with self._changed:
            if not self._has_room(address):
                self._wait_for_room(address)
            self._arriving[address] += 1

    def _wait_for_room(self, address: str) -> None:
        # who waits holds a thread, too
        if self._waiting >= self._most_waiting:
            raise TooManyBodies()
        until = time.monotonic() + WAIT_SECONDS
        self._waiting += 1
        try:
            while not self._has_room(address):
                if not self._changed.wait(until - time.monotonic()):
                    raise TooManyBodies()
        finally:
            self._waiting -= 1

    def leave(self, address: str) -> None:
        with self._changed:
            self._arriving[address] -= 1
            if not self._arriving[address]:
                del self._arriving[address]
            self._changed.notify_all()

    def _has_room(self, address: str) -> bool:
        if self._arriving.total() >= self._most:
            return False
        return _is_shared(address) or self._arriving[address] < self._most_of_one


class _Counted:
    """A body that has its place from its first read until its end."""

    def __init__(self, bodies: Bodies, stream: Any, environ: dict[str, Any]) -> None:
        self._bodies, self._stream = bodies, stream
        self._address = str(environ.get("REMOTE_ADDR", ""))
        length = str(environ.get("CONTENT_LENGTH") or "")
        self._left = int(length) if length.isascii() and length.isdigit() else None
        self._has_place, self._is_over = False, self._left == 0

    def read(self, size: int = -1) -> bytes:
        return self._taken(lambda: self._stream.read(size), size)

    def readline(self, size: int = -1) -> bytes:
        return self._taken(lambda: self._stream.readline(size), size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def leave(self) -> None:
        self._is_over = True
        if self._has_place:
            self._has_place = False
            self._bodies.leave(self._address)

    def _taken(self, read: Any, size: int) -> bytes:
        if not self._has_place and not self._is_over and size != 0:
            self._bodies.enter(self._address)
            self._has_place = True
        data: bytes = read()
        if self._left is not None:
            self._left -= len(data)
        if size != 0 and (not data or self._left == 0):
            self.leave()
        return data


def _is_shared(address: str) -> bool:
    """Loopback: a proxy's on this machine, or people's who sit at it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
