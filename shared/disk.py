"""The disk's two marks: below one a sweep runs at once, below the other no job is accepted."""

from __future__ import annotations

import shutil
from typing import Any

from shared.config import Settings


def usage(settings: Settings) -> dict[str, Any]:
    """Measured now: of the fuller one where data and storage lie on two disks of this machine."""
    folders = [settings.data]
    if settings.storage_folder.is_dir():
        folders.append(settings.storage_folder)
    disks = [shutil.disk_usage(folder) for folder in folders]
    found = min(disks, key=lambda one: one.free / max(one.total, 1))
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
