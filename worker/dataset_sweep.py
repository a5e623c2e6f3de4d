"""Datasets' part of the sweep: bytes that nobody was promised any more, uploads and packs without a row."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import delete, select, update

from shared import datasets, uploads
from shared.config import Settings
from shared.db import NOW, Database
from shared.models import Dataset, Upload
from shared.storage import Storage
from worker.swept import Swept, tree_size

log = logging.getLogger(__name__)

AT_ONCE = 100
GIVEN_UP = "The check failed several times; please upload it again, or ask the administrator."


def sweep_datasets(
    settings: Settings, db: Database, storage: Storage, swept: Swept | None = None
) -> int:
    """Returns the bytes that this freed."""
    swept = Swept() if swept is None else swept
    before = swept.bytes
    _refuse_given_up(settings, db, swept)
    _forget_abandoned(settings, db, swept)
    _free_hidden(db, storage, swept)
    _free_packs(settings, db, storage, swept)
    _free_uploads(settings, db, swept)
    return swept.bytes - before


def _refuse_given_up(settings: Settings, db: Database, swept: Swept) -> None:
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
        _discard(uploads.folder_of(settings, dataset_id), swept)


def _forget_abandoned(settings: Settings, db: Database, swept: Swept) -> None:
    """Uploads that nobody continued for a day; rows first, then files without a row."""
    with db.writing() as session:
        session.execute(delete(Upload).where(Upload.expires_at < NOW))
    oldest = time.time() - settings.keep_orphans_seconds
    for path in (uploads.uploads_of(settings) / uploads.RESUMABLE).glob("*"):
        with db.reading() as session:
            wanted = session.get(Upload, path.name) is not None
        if wanted or _changed(path) >= oldest:
            swept.find("uploads", _size(path))
        else:
            swept.remove_file("uploads", path)


def _free_hidden(db: Database, storage: Storage, swept: Swept) -> None:
    """Bytes of deleted datasets go when the jobs that were promised them have ended."""
    with db.reading() as session:
        done = datasets.hidden_and_done(session, AT_ONCE)
    for dataset_id in done:
        _free(storage, dataset_id, swept)
        with db.writing() as session:
            rows = datasets.forget_items(session, dataset_id)
        swept.remove("datasets", rows=rows)


def _forget_kept(db: Database, dataset_id: str) -> None:
    """A refused dataset whose upload is gone cannot be accepted any more, and holds no bytes."""
    with db.writing() as session:
        row = session.get(Dataset, dataset_id)
        if row is not None and row.state == "refused":
            row.bytes = 0
            row.problems = datasets.problems_shape((row.problems or {}).get("files", []))


def _free(storage: Storage, dataset_id: str, swept: Swept) -> None:
    files = sum(1 for _ in storage.keys(datasets.prefix_of(dataset_id)))
    swept.remove("datasets", files=files, bytes=datasets.delete_bytes(storage, dataset_id))


def _free_packs(settings: Settings, db: Database, storage: Storage, swept: Swept) -> None:
    """What a crash left between a file and its row. Young files may belong to somebody at work."""
    oldest = time.time() - settings.keep_orphans_seconds
    sizes: dict[str, int] = {}
    young: set[str] = set()
    for stored in swept.ours(storage.keys("datasets")):
        dataset_id = stored.key.split("/")[1]
        sizes[dataset_id] = sizes.get(dataset_id, 0) + stored.bytes
        if stored.changed >= oldest:
            young.add(dataset_id)
    kept = _kept(db, sizes)
    for dataset_id, size in sizes.items():
        if dataset_id not in kept | young:
            _free(storage, dataset_id, swept)
        else:
            swept.find("datasets" if dataset_id in kept else "orphans", size)


def _kept(db: Database, ids: Iterable[str]) -> set[str]:
    """Of these, the datasets that are shown or promised; a refused one has no pack."""
    kept: set[str] = set()
    wanted = sorted(ids)
    for some in (wanted[n : n + 500] for n in range(0, len(wanted), 500)):
        with db.reading() as session:
            rows = session.execute(
                select(Dataset.id, Dataset.state, Dataset.deleted_at).where(Dataset.id.in_(some))
            ).all()
            kept |= {
                dataset_id
                for dataset_id, state, deleted_at in rows
                if (deleted_at is None and state != "refused")
                or datasets.accepted_jobs(session, dataset_id)
            }
    return kept


def _free_uploads(settings: Settings, db: Database, swept: Swept) -> None:
    """Raw files whose dataset is checked, refused, deleted, or never came to be."""
    oldest = time.time() - settings.keep_orphans_seconds
    root = uploads.uploads_of(settings)
    folders = [path for path in (root.iterdir() if root.is_dir() else ()) if path.is_dir()]
    apart = (uploads.INCOMING, uploads.RESUMABLE)
    waiting = {path.name: path for path in folders if path.name not in apart}
    for part in (root / uploads.INCOMING).glob("*"):
        if _changed(part) < oldest:
            swept.remove_file("uploads", part)
        else:
            swept.find("uploads", _size(part))
    with db.reading() as session:
        checking = set(
            session.scalars(
                select(Dataset.id).where(
                    Dataset.id.in_(waiting),
                    Dataset.state == "checking",
                    Dataset.deleted_at.is_(None),
                )
            )
        )
    for name, folder in waiting.items():
        if name not in checking and _changed(folder) < oldest:
            _discard(folder, swept)
            _forget_kept(db, name)
        else:
            swept.find("uploads", tree_size([folder])[1])


def _discard(folder: Path, swept: Swept) -> None:
    files, size = tree_size([folder])
    uploads.discard(folder)
    swept.remove("uploads", files=files, bytes=size)


def _changed(path: Path) -> float:
    """When it changed; of what has just gone, now."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
