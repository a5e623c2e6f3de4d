"""The disk's two marks: below one a sweep runs at once, below the other no job is accepted."""

from __future__ import annotations

import shutil
from typing import Any

from shared.config import Settings


def usage(settings: Settings) -> dict[str, Any]:
    """Measured now."""
    found = shutil.disk_usage(settings.data)
    return {
        "bytes": found.total,
        "free_bytes": found.free,
        "free_percent": 100 * found.free / max(found.total, 1),
        "low_percent": settings.disk_low_percent,
        "sweep_percent": settings.disk_sweep_percent,
    }


def is_filling(settings: Settings) -> bool:
    """Below the mark at which a sweep does not wait for its hour."""
    return bool(usage(settings)["free_percent"] < settings.disk_sweep_percent)
