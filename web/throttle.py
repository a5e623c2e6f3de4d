"""Slows down password guessing: per account and address, per address, and per account."""

from __future__ import annotations

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from shared.errors import TooManyRequests

# Failures allowed. The account alone has the widest bound, so that a stranger cannot easily lock its owner out.
PER_ACCOUNT_AND_ADDRESS = RateLimitItemPerMinute(10, 5)
PER_ADDRESS = RateLimitItemPerMinute(50, 5)
PER_ACCOUNT = RateLimitItemPerHour(200)


class Throttle:
    """Counts failed attempts of one process, in memory."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def check(self, account: str, address: str) -> None:
        """Raises TooManyRequests when too many attempts have failed already."""
        for limit, key in _keys(account, address):
            if not self._limiter.test(limit, *key):
                raise TooManyRequests()

    def failed(self, account: str, address: str) -> None:
        for limit, key in _keys(account, address):
            self._limiter.hit(limit, *key)


def _keys(account: str, address: str) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
    account = account.casefold()[:64]
    return [
        (PER_ACCOUNT_AND_ADDRESS, ("both", account, address)),
        (PER_ADDRESS, ("address", address)),
        (PER_ACCOUNT, ("account", account)),
    ]
