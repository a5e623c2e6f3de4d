"""Times as text."""

from __future__ import annotations

import math
import time
from typing import overload


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
