"""Times, and how long something takes, as text."""

from __future__ import annotations

import math
import time
from typing import overload

LIFETIME = 80 * 365 * 86_400  # seconds


@overload
def rfc3339(at: float) -> str: ...
@overload
def rfc3339(at: None) -> None: ...
@overload
def rfc3339(at: float | None) -> str | None: ...
def rfc3339(at: float | None) -> str | None:
    """UTC with milliseconds, like 2026-11-22T04:50:00.123Z."""
    if at is None:
        return None
    thousandths = math.floor(at * 1000)
    seconds, rest = divmod(thousandths, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"


def long_words(seconds: float) -> str:
    """In the largest unit that there are two of, like 3 hours."""
    if seconds > LIFETIME:
        return "a lifetime"
    for size, word in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {word}"
    return f"{seconds:,.0f} seconds"
