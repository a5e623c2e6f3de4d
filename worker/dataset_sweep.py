"""Datasets' part of the sweep: bytes that nobody was promised any more, uploads and packs without a row."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from sqlalchemy import delete, select, update

from shared import datasets, uploads
from shared.config import Settings
from shared.db import Database, now
from shared.models import Dataset, Upload
from shared.storage import LocalStorage

log = logging.getLogger(__name__)

AT_ONCE = 100
ORPHAN_SECONDS = uploads.KEPT_SECONDS
GIVEN_UP = "The check failed several times; please upload it again, or ask the administrator."


def sweep_datasets(settings: Settings, db: Database, storage: LocalStorage) -> int:
    """Returns the bytes that this freed."""
    _refuse_given_up(settings, db)
    _forget_abandoned(settings, db)
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


def _forget_abandoned(settings: Settings, db: Database) -> None:
    """Uploads that nobody continued for a day; rows first, then files without a row."""
    with db.writing() as session:
        session.execute(delete(Upload).where(Upload.expires_at < now(session)))
    oldest = time.time() - ORPHAN_SECONDS
    for path in (uploads.uploads_of(settings) / uploads.RESUMABLE).glob("*"):
        with suppress(FileNotFoundError):  # its owner has just removed it
            if path.stat().st_mtime > oldest:
                continue
        with db.reading() as session:
            wanted = session.get(Upload, path.name) is not None
        if not wanted:
            path.unlink(missing_ok=True)


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


def _forget_kept(db: Database, dataset_id: str) -> None:
    """A refused dataset whose upload is gone cannot be accepted any more, and holds no bytes."""
    with db.writing() as session:
        row = session.get(Dataset, dataset_id)
        if row is not None and row.state == "refused":
            row.bytes = 0
            row.problems = datasets.problems_shape((row.problems or {}).get("files", []))


def _free_orphans(settings: Settings, db: Database, storage: LocalStorage) -> int:
    """What a crash left between a file and its row. Young files may belong to somebody at work."""
    oldest = time.time() - ORPHAN_SECONDS
    packed = {key.split("/")[1] for key, at in storage.keys("datasets") if at < oldest}
    root = uploads.uploads_of(settings)
    waiting = {
        folder.name
        for folder in (root.iterdir() if root.is_dir() else ())
        if folder.name not in (uploads.INCOMING, uploads.RESUMABLE)
        and folder.stat().st_mtime < oldest
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
        _forget_kept(db, name)
    return sum(datasets.delete_bytes(storage, dataset_id) for dataset_id in packed - kept)
