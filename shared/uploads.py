"""The folder of an upload that waits for its check: numbered files, and their names as people know them beside it.

Names from outside are never paths here.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from shared.config import Settings
from shared.storage import sync_folder

NAMES = "names.json"
WORK = "work"
# Parts of requests that are still being received; the name is no dataset's id.
INCOMING = "incoming-parts"
# Files that are received piece by piece, under their uploads' ids.
RESUMABLE = "resumable"
KEPT_SECONDS = 86_400.0  # an upload that nobody continues, or whose dataset was refused


def uploads_of(settings: Settings) -> Path:
    return settings.data.resolve() / "uploads"


def folder_of(settings: Settings, dataset_id: str) -> Path:
    return uploads_of(settings) / dataset_id


def file_of(folder: Path, number: int) -> Path:
    return folder / str(number)


def resumable_of(settings: Settings, upload_id: str) -> Path:
    return uploads_of(settings) / RESUMABLE / upload_id


def write_names(folder: Path, names: list[str]) -> None:
    """Makes the upload complete: called when all of its files are on disk."""
    with (folder / NAMES).open("w", encoding="utf-8") as file:
        json.dump(names, file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    sync_folder(folder.parent)


def read_names(folder: Path) -> list[str] | None:
    """The names of files 0, 1, ...; None when the upload is not there."""
    try:
        names = json.loads((folder / NAMES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return [str(name) for name in names]


def discard(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
