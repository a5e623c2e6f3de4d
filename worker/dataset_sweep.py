"""Datasets' part of the sweep: bytes that nobody was promised any more, uploads and packs without a row."""

from __future__ import annotations

import logging
import time

from sqlalchemy import select, update

from shared import datasets, uploads
from shared.config import Settings
from shared.db import Database
from shared.models import Dataset
from shared.storage import LocalStorage

log = logging.getLogger(__name__)

AT_ONCE = 100
ORPHAN_SECONDS = 86_400.0
GIVEN_UP = "The check failed several times; please upload it again, or ask the administrator."


def sweep_datasets(settings: Settings, db: Database, storage: LocalStorage) -> int:
    """Returns the bytes that this freed."""
    _refuse_given_up(settings, db)
    return _free_hidden(db, storage) + _free_orphans(settings, db, storage)


def _refuse_given_up(settings: Settings, db: Database) -> None:
    """A dataset whose check has failed for good must not say `checking` for ever."""
    with db.writing() as session:
        abandoned = datasets.given_up(session, AT_ONCE)
        session.execute(
            update(Dataset)
            .where(Dataset.id.in_(abandoned), Dataset.state == "checking")
            .values(
                state="refused",
                bytes=0,
                problems=datasets.problems_shape([{"name": "", "message": GIVEN_UP}]),
            )
        )
    for dataset_id in abandoned:
        uploads.discard(uploads.folder_of(settings, dataset_id))


def _free_hidden(db: Database, storage: LocalStorage) -> int:
    """Bytes of deleted datasets go when the jobs that were promised them have ended."""
    with db.reading() as session:
        done = datasets.hidden_and_done(session, AT_ONCE)
    freed = 0
    for dataset_id in done:
        freed += datasets.delete_bytes(storage, dataset_id)
        with db.writing() as session:
            datasets.forget_items(session, dataset_id)
    return freed


def _free_orphans(settings: Settings, db: Database, storage: LocalStorage) -> int:
    """What a crash left between a file and its row. Young files may belong to somebody at work."""
    oldest = time.time() - ORPHAN_SECONDS
    packed = {key.split("/")[1] for key, at in storage.keys("datasets") if at < oldest}
    root = uploads.uploads_of(settings)
    waiting = {
        folder.name
        for folder in (root.iterdir() if root.is_dir() else ())
        if folder.name != uploads.INCOMING and folder.stat().st_mtime < oldest
    }
    for part in (root / uploads.INCOMING).glob("*"):
        if part.stat().st_mtime < oldest:
            part.unlink(missing_ok=True)
    with db.reading() as session:
        kept = set(session.scalars(select(Dataset.id).where(Dataset.id.in_(packed | waiting))))
        checking = set(
            session.scalars(
                select(Dataset.id).where(Dataset.id.in_(waiting), Dataset.state == "checking")
            )
        )
    for name in waiting - checking:
        uploads.discard(root / name)
    return sum(datasets.delete_bytes(storage, dataset_id) for dataset_id in packed - kept)
