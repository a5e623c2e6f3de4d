"""The disk's two marks: below one a sweep runs at once, below the other no job is accepted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from shared.config import Settings


def usage(settings: Settings) -> dict[str, Any]:
    """Measured now: of the fuller one where data and storage lie on two disks of this machine."""
    folders = [settings.data]
    if settings.storage_folder.is_dir():
        folders.append(settings.storage_folder)
    folder = min(folders, key=_free_share)
    found = shutil.disk_usage(folder)
    return {
        "bytes": found.total,
        "free_bytes": found.free,
        "free_percent": 100 * _free_share(folder),
        "low_percent": settings.disk_low_percent,
        "sweep_percent": settings.disk_sweep_percent,
    }


def _free_share(folder: Path) -> float:
    """Of its bytes or of the files it may hold, whichever is scarcer: very many small files fill a disk, too."""
    room, files = shutil.disk_usage(folder), os.statvfs(folder)
    share = room.free / max(room.total, 1)
    # some file systems know no bound
    return min(share, files.f_favail / files.f_files) if files.f_files else share


def is_filling(settings: Settings) -> bool:
    """Below the mark at which a sweep does not wait for its hour."""
    return bool(usage(settings)["free_percent"] < settings.disk_sweep_percent)
