"""Removes what nobody refers to any more: old rows, checkpoints of ended jobs, files without a row.

Rows go first and files after, so a crash in between leaves a file without a row, and that goes with a later sweep.
A file is garbage only when it is old enough and no row names it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import checkpoints, retention
from shared.config import Settings
from shared.db import Database, clock
from shared.ids import new_id
from shared.models import Artifact, Checkpoint, Job, Model
from shared.storage import Storage
from worker.dataset_sweep import sweep_datasets
from worker.device_run import remove_tree
from worker.swept import Swept, begin, record, tree_size

log = logging.getLogger(__name__)

AT_ONCE = 500
EVENTS_AT_ONCE = 5000
# An hour's sweep of a huge backlog gives others their turn; the next one goes on.
MOST_EVENTS = 500_000


def sweep(
    settings: Settings,
    db: Database,
    storage: Storage,
    *,
    files: bool = True,
    why: str = "asked",
    sweep_id: str = "",
) -> Swept:
    """One whole sweep, with the disk measured before and after, and its row."""
    swept = Swept()
    with db.reading() as session:
        begun = begin(session, settings, sweep_id or new_id(), why)
    try:
        sweep_rows(settings, db, storage, swept)
        sweep_datasets(settings, db, storage, swept)
        if files:
            sweep_events(settings, db, swept)
            sweep_files(settings, db, storage, swept)
    finally:
        with db.writing() as session:
            record(session, settings, begun, swept, measured=files)
    if swept.files:
        log.info("swept %s files, %s bytes", swept.files, swept.bytes)
    return swept


def sweep_rows(
    settings: Settings, db: Database, storage: Storage, swept: Swept | None = None
) -> None:
    """The cheap part: rows whose time is over, and the checkpoints of ended jobs."""
    swept = Swept() if swept is None else swept
    with db.writing() as session:
        gone = retention.forget_old_rows(session, settings)
    for what, rows in gone.items():
        swept.remove(what, rows=rows)
    while True:
        with db.writing() as session:
            stale = checkpoints.forget(
                session, retention.expendable_checkpoints(session, settings, AT_ONCE)
            )
        swept.remove("checkpoints", rows=len(stale))
        for location in stale:
            swept.remove_key("checkpoints", storage, location)
        if len(stale) < AT_ONCE:
            return


def sweep_events(settings: Settings, db: Database, swept: Swept) -> None:
    for _ in range(MOST_EVENTS // EVENTS_AT_ONCE):
        with db.writing() as session:
            gone = retention.forget_old_events(session, settings, EVENTS_AT_ONCE)
        swept.remove("events", rows=gone)
        if gone < EVENTS_AT_ONCE:
            return


def sweep_files(
    settings: Settings, db: Database, storage: Storage, swept: Swept | None = None
) -> int:
    """Deletes files that no row needs, and measures those that stay; returns how many went."""
    swept = Swept() if swept is None else swept
    before = swept.files
    oldest = time.time() - settings.keep_orphans_seconds
    for prefix, needed in NEEDED.items():
        found = swept.ours(storage.keys(prefix))
        while some := {stored.key: stored for stored in islice(found, AT_ONCE)}:
            with db.reading() as session:
                kept = needed(session, settings, list(some))
            for key, stored in some.items():
                if key in kept or stored.changed >= oldest:
                    swept.find(prefix if key in kept else "orphans", stored.bytes)
                else:
                    swept.remove_key(prefix, storage, key)
    _sweep_runs(settings, db, swept)
    return swept.files - before


def _artifacts_needed(session: Session, settings: Settings, keys: list[str]) -> set[str]:
    rows = session.execute(
        select(Artifact.location, Artifact.deleted_at).where(Artifact.location.in_(keys))
    ).all()
    hidden_since = clock(session) - settings.keep_orphans_seconds
    needed = {key for key, deleted_at in rows if deleted_at is None or deleted_at > hidden_since}
    if len(needed) < len(keys):
        needed |= retention.inputs_in_use(session) & set(keys)
    return needed


def _checkpoints_needed(session: Session, _: Settings, keys: list[str]) -> set[str]:
    return set(session.scalars(select(Checkpoint.location).where(Checkpoint.location.in_(keys))))


def _models_needed(session: Session, settings: Settings, keys: list[str]) -> set[str]:
    """A model is a folder: all of its files or none."""
    models = {key: key.split("/")[1] for key in keys}
    hidden_since = clock(session) - settings.keep_orphans_seconds
    rows = session.scalars(select(Model).where(Model.id.in_(set(models.values()))))
    needed = {
        row.id
        for row in rows
        if row.deleted_at is None
        or row.deleted_at > hidden_since
        or retention.model_is_used(session, row)
    }
    return {key for key, model_id in models.items() if model_id in needed}


NEEDED: dict[str, Callable[[Session, Settings, list[str]], set[str]]] = {
    "artifacts": _artifacts_needed,
    "checkpoints": _checkpoints_needed,
    "models": _models_needed,
}


def _sweep_runs(settings: Settings, db: Database, swept: Swept) -> None:
    """Folders of runs whose workers did not come back."""
    for run in _old_runs(settings):
        job_id, _, fence = run.name.partition(".")
        with db.reading() as session:
            job = session.get(Job, job_id)
            held = job is not None and job.state == "running" and job.fence == int(fence)
        if not held:
            files, size = tree_size([run])
            remove_tree(run)
            swept.remove("runs", files=files, bytes=size)


def _old_runs(settings: Settings) -> Iterator[Path]:
    oldest = time.time() - settings.keep_orphans_seconds
    runs = settings.data.resolve() / "runs"
    for run in [*runs.glob("*/in/*.*"), *runs.glob("*/out/*.*")]:
        with suppress(FileNotFoundError):  # its worker has just removed it
            if run.lstat().st_mtime <= oldest and run.name.partition(".")[2].isdigit():
                yield run
