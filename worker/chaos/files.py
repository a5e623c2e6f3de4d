"""Files as they must be once nothing runs: each row has its own, and after a sweep nothing else is left.

A killed attempt leaves files behind; that is allowed, and `unnamed` counts them before the sweep takes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import datasets, packs, uploads
from shared.config import Settings
from shared.db import Database
from shared.errors import AppError
from shared.models import Artifact, Checkpoint, Dataset, Job, Model, Upload
from shared.storage import CHUNK, Storage
from worker import sweep
from worker.chaos.problem import Problem
from worker.dataset_sweep import sweep_datasets

PREFIXES = ("artifacts", "checkpoints", "datasets", "models")


def problems(settings: Settings, db: Database, storage: Storage) -> list[Problem]:
    """Sweeps whatever its age: what no row names must go, and nothing else may."""
    found = [*_lost(settings, db, storage)]
    at_once = settings.model_copy(update={"keep_orphans_seconds": 0.0})
    sweep_datasets(at_once, db, storage)
    sweep.sweep_files(at_once, db, storage)
    found += [problem for problem in _lost(settings, db, storage) if problem not in found]
    left = unnamed(settings, db, storage)
    return found + [Problem("orphaned", f"file {name} has no row, and stays") for name in left]


def unnamed(settings: Settings, db: Database, storage: Storage) -> list[str]:
    """Files and folders that no row names."""
    with db.reading() as session:
        known = _known(session)
        found = [s.key for prefix in PREFIXES for s in storage.keys(prefix) if s.key not in known]
        found += _unnamed_uploads(settings, session)
        found += _unnamed_runs(settings, session)
    return sorted(found)


def _known(session: Session) -> set[str]:
    known = set(session.scalars(select(Artifact.location)))
    known |= set(session.scalars(select(Checkpoint.location)))
    for model in session.scalars(select(Model)):
        known |= {f"{model.location}/{name}" for name in model.files}
    for row in session.scalars(select(Dataset).where(Dataset.state != "refused")):
        if row.deleted_at is None or datasets.accepted_jobs(session, row.id):
            known |= {datasets.key_of(row.id, name) for name in datasets.PACK_FILES}
    return known


def _unnamed_uploads(settings: Settings, session: Session) -> Iterator[str]:
    root = uploads.uploads_of(settings)
    waiting = select(Dataset.id).where(
        Dataset.state.in_(("checking", "refused")), Dataset.deleted_at.is_(None)
    )
    known = set(session.scalars(waiting))
    resumable = set(session.scalars(select(Upload.id)))
    for path in _entries(root):
        if path.name == uploads.RESUMABLE:
            yield from (f"uploads/{p.name}" for p in _entries(path) if p.name not in resumable)
        elif path.name == uploads.INCOMING:
            yield from (f"uploads/{path.name}/{part.name}" for part in _entries(path))
        elif path.name not in known:
            yield f"uploads/{path.name}"


def _unnamed_runs(settings: Settings, session: Session) -> Iterator[str]:
    runs = settings.data.resolve() / "runs"
    held = session.execute(select(Job.id, Job.fence).where(Job.state == "running"))
    named = {f"{job_id}.{fence}" for job_id, fence in held}
    for path in sorted([*runs.glob("*/in/*"), *runs.glob("*/out/*")]):
        if path.name not in named:
            yield str(path.relative_to(runs.parent))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


# ---- rows without files --------------------------------------------------------------------------------


def _lost(settings: Settings, db: Database, storage: Storage) -> Iterator[Problem]:
    with db.reading() as session:
        hashes = _hashes(session)
        ready = select(Dataset).where(Dataset.state == "ready", Dataset.deleted_at.is_(None))
        shown = session.scalars(ready).all()
        missing = [*_missing_uploads(settings, session)]
    for location, sha256 in hashes:
        if not _is_whole(storage, location, sha256):
            yield Problem("lost", f"file {location} is gone or not what its row says")
    for row in shown:
        if not _is_whole_pack(storage, row):
            yield Problem("lost", f"dataset {row.id} is gone or not what its row says")
    for name in missing:
        yield Problem("lost", f"upload {name} has not all of its bytes")


def _hashes(session: Session) -> list[tuple[str, str]]:
    """Of what is shown; the bytes of what was deleted may be gone."""
    artifacts = select(Artifact.location, Artifact.sha256).where(Artifact.deleted_at.is_(None))
    checkpoints = select(Checkpoint.location, Checkpoint.sha256)
    found = [
        (key, sha256)
        for which in (artifacts, checkpoints)
        for key, sha256 in session.execute(which)
    ]
    for model in session.scalars(select(Model).where(Model.deleted_at.is_(None))):
        found += [(f"{model.location}/{name}", f["sha256"]) for name, f in model.files.items()]
    return found


def _is_whole(storage: Storage, key: str, sha256: str) -> bool:
    digest = hashlib.sha256()
    try:
        with storage.open(key) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (OSError, AppError):
        return False
    return digest.hexdigest() == sha256


def _is_whole_pack(storage: Storage, row: Dataset) -> bool:
    manifest, data = (datasets.key_of(row.id, name) for name in (packs.MANIFEST, packs.DATA))
    if not _is_whole(storage, manifest, row.sha256):
        return False
    try:
        with storage.open(manifest) as lines, storage.open(data) as items:
            return sum(1 for _ in packs.verified_files(lines, items)) == row.item_count
    except (OSError, AppError):
        return False


def _missing_uploads(settings: Settings, session: Session) -> Iterator[str]:
    """What waits for its check, or to be continued."""
    checking = select(Dataset.id).where(
        Dataset.state == "checking", Dataset.source == "upload", Dataset.deleted_at.is_(None)
    )
    for dataset_id in session.scalars(checking):
        folder = uploads.folder_of(settings, dataset_id)
        names = uploads.read_names(folder)
        files = [uploads.file_of(folder, n).is_file() for n in range(len(names or ()))]
        if names is None or not all(files):
            yield dataset_id
    for row in session.scalars(select(Upload).where(Upload.offset > 0)):
        path = uploads.resumable_of(settings, row.id)
        if not path.is_file() or path.stat().st_size < row.offset:
            yield row.id
