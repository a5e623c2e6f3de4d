"""Places for those who wait: each holds a thread of the server, so there are so many only, and they are evened out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

# How long a newcomer waits for the place that another was asked to leave.
ROOM_SECONDS = 1.0


@dataclass(eq=False)
class Slot:
    """`leave` is set where its holder shall end at once: the place is needed, or the server stops."""

    user_id: str
    is_notice: bool
    leave: threading.Event = field(default_factory=threading.Event)


class Slots:
    """Whoever comes while all are taken has the oldest place of the user who holds most, if that evens them out.

    Notices (any of one's jobs has ended: every open browser waits for that) have a quarter of all places at most,
    so that some are left for who follows a job. `wake` is called where somebody shall leave.
    """

    def __init__(self, most: int, wake: Callable[[], None]) -> None:
        self._most = most
        self._wake = wake
        self._held: list[Slot] = []  # the oldest first
        self._given = threading.Condition()
        self._closed = False

    @property
    def taken(self) -> int:
        return len(self._held)

    def take(self, user_id: str, *, is_notice: bool = False) -> Slot | None:
        """None where there is no place; give() ends it."""
        with self._given:
            if is_notice and not self._room(user_id, self._notices, max(1, self._most // 4)):
                return None
            if not self._room(user_id, lambda: self._held, self._most):
                return None
            slot = Slot(user_id, is_notice)
            if self._closed:
                slot.leave.set()
            self._held.append(slot)
            return slot

    def give(self, slot: Slot) -> None:
        with self._given:
            self._held.remove(slot)
            self._given.notify_all()

    def close(self) -> None:
        """Lets everybody go."""
        with self._given:
            self._closed = True
            for slot in self._held:
                slot.leave.set()
        self._wake()

    def _notices(self) -> list[Slot]:
        return [slot for slot in self._held if slot.is_notice]

    def _room(self, user_id: str, held: Callable[[], list[Slot]], most: int) -> bool:
        if len(held()) < most:
            return True
        staying = [slot for slot in held() if not slot.leave.is_set()]
        counts = Counter(slot.user_id for slot in staying)
        richest = max(counts, key=counts.__getitem__, default=user_id)
        if counts[richest] < counts[user_id] + 2:
            return False
        next(slot for slot in staying if slot.user_id == richest).leave.set()
        self._wake()
        return self._given.wait_for(lambda: len(held()) < most, ROOM_SECONDS)
