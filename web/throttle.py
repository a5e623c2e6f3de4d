"""Slows down password guessing, per account and address, per address, and per account; and what asks other servers."""

from __future__ import annotations

import time

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from shared.errors import TooManyRequests

# Failures allowed. The account alone has the widest bound, so that a stranger cannot easily lock its owner out.
PER_ACCOUNT_AND_ADDRESS = RateLimitItemPerMinute(10, 5)
PER_ADDRESS = RateLimitItemPerMinute(50, 5)
PER_ACCOUNT = RateLimitItemPerHour(200)
# Attempts to make an account, also those that succeed.
JOINING = RateLimitItemPerHour(20)
# What makes the server look names up, or send, at a user's word.
WEBHOOKS = RateLimitItemPerHour(120)


class Throttle:
    """Counts failed attempts of one process, in memory."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def check(self, account: str, address: str, *, changing: bool = False) -> None:
        """Raises TooManyRequests when too many attempts have failed already, to sign in or to change a password."""
        for limit, key in _keys(account, address, changing):
            if not self._limiter.test(limit, *key):
                raise TooManyRequests(after=self._seconds_left(limit, *key))

    def failed(self, account: str, address: str, *, changing: bool = False) -> None:
        for limit, key in _keys(account, address, changing):
            self._limiter.hit(limit, *key)

    def joining(self, address: str) -> None:
        """Counts an attempt to make an account. Raises TooManyRequests."""
        if not self._limiter.hit(JOINING, "joining", address):
            raise TooManyRequests(
                "Too many accounts were asked for from this address; wait an hour.",
                self._seconds_left(JOINING, "joining", address),
            )

    def webhook(self, user_id: str) -> None:
        """Counts what makes the server ask others. Raises TooManyRequests."""
        if not self._limiter.hit(WEBHOOKS, "webhooks", user_id):
            raise TooManyRequests(
                "Webhooks were changed or tried too often; wait an hour.",
                self._seconds_left(WEBHOOKS, "webhooks", user_id),
            )

    def _seconds_left(self, limit: RateLimitItem, *key: str) -> float:
        """Until the window ends that is spent."""
        return self._limiter.get_window_stats(limit, *key).reset_time - time.time()


def _keys(
    account: str, address: str, changing: bool
) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
    account = account.casefold()[:64]
    if changing:
        # whoever changes a password is signed in: his failures are no reason to refuse others at his address
        return [
            (PER_ACCOUNT_AND_ADDRESS, ("changing", account, address)),
            (PER_ACCOUNT, ("changing", account)),
        ]
    return [
        (PER_ACCOUNT_AND_ADDRESS, ("both", account, address)),
        (PER_ADDRESS, ("address", address)),
        (PER_ACCOUNT, ("account", account)),
    ]
