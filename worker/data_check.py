"""Checks an uploaded dataset and publishes its pack. This side knows the database and never parses what was uploaded.

The parsing happens in worker/data_check_child.py, a sandboxed process; what it made is verified before it is believed.
May be run again after any crash: the outcome is the same, and only the last transaction makes it visible.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from shared import datasets, packs, samples, thumbnails, uploads
from shared.config import Settings, bare_environment
from shared.dataset_preview import FILE as PREVIEW
from shared.dataset_preview import Preview
from shared.db import Database
from shared.errors import BadData, StorageFull
from shared.failpoints import failpoint
from shared.log import places
from shared.models import Dataset, DatasetItem
from shared.quotas import storage_left
from shared.storage import Storage, told_when_full
from worker.checking.protocol import CURRENT, EXECUTABLE, OUR_DISK_IS_FULL, REPORT

log = logging.getLogger(__name__)

WALL_SECONDS = 3600.0
UNPACKED = 4  # times the largest upload
ROWS_AT_ONCE = 2000
PUBLISHED = (packs.DATA, thumbnails.DATA, thumbnails.INDEX)  # what the dataset's bytes are
LONGEST_REPORT = 16 << 20
LONGEST_TRACE = 4000

Problem = dict[str, str]


@dataclass(frozen=True)
class Report:
    """What the child says: reasons in words, and whether the rest may still be accepted."""

    problems: list[Problem]
    fatal: bool = False
    usable: int = 0


@dataclass(frozen=True)
class Checked:
    """What came out of a check: a pack with its kind and facts, or only problems."""

    problems: list[Problem]
    usable: int = 0
    kind: str = ""
    facts: dict[str, Any] | None = None
    preview: dict[str, Any] | None = None

    @property
    def ready(self) -> bool:
        return self.facts is not None


def check_dataset(
    settings: Settings,
    db: Database,
    storage: Storage,
    dataset_id: str,
    *,
    accept_partial: bool = False,
) -> None:
    """Brings a dataset from `checking` to `ready` or `refused`; raises only what a later run can cure."""
    folder = uploads.folder_of(settings, dataset_id)
    folder.mkdir(parents=True, exist_ok=True)
    keep = False
    with _alone_in(folder), _leaving_room(storage, dataset_id, folder):
        dataset = _waiting(db, dataset_id)
        if dataset is not None:
            # said in the row, too: a late run of the first check must not refuse it once more
            partial = accept_partial or bool((dataset.problems or {}).get("partial"))
            checked = _check(settings, db, dataset, folder, partial)
            if not checked.ready:
                keep = _refuse(db, dataset_id, checked)
            elif not _publish(db, storage, dataset_id, checked, folder / uploads.WORK):
                datasets.delete_bytes(storage, dataset_id)  # deleted by its owner meanwhile
        else:
            keep = _is_kept(db, dataset_id)
        # a refused upload stays for a day: its owner may accept what is good in it
        uploads.discard(folder / uploads.WORK if keep else folder)


@contextmanager
def _leaving_room(storage: Storage, dataset_id: str, folder: Path) -> Iterator[None]:
    """Where the disk is full, what was made so far does not fill it until the next try."""
    try:
        with told_when_full():
            yield
    except StorageFull:
        uploads.discard(folder / uploads.WORK)
        datasets.delete_bytes(storage, dataset_id)
        raise


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits for another check of the same dataset: one whose lease was lost may still be at work."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _waiting(db: Database, dataset_id: str) -> Dataset | None:
    with db.reading() as session:
        return session.scalar(select(Dataset).where(*_is_waiting(dataset_id)))


def _is_kept(db: Database, dataset_id: str) -> bool:
    """Whether an earlier run of this check refused it and kept its upload."""
    with db.reading() as session:
        row = session.get(Dataset, dataset_id)
    return row is not None and row.deleted_at is None and bool((row.problems or {}).get("usable"))


def _is_waiting(dataset_id: str) -> tuple[Any, ...]:
    return Dataset.id == dataset_id, Dataset.state == "checking", Dataset.deleted_at.is_(None)


# ---- the check ---------------------------------------------------------------------------------


def _check(
    settings: Settings, db: Database, dataset: Dataset, folder: Path, accept_partial: bool
) -> Checked:
    try:
        _write_sample(dataset.source, folder)
    except BadData as error:
        return Checked([{"name": "", "message": error.message}])
    names = uploads.read_names(folder)
    if names is None:
        return Checked([{"name": "", "message": "The upload is gone; please upload it again."}])
    work = folder / uploads.WORK
    uploads.discard(work)  # what an earlier run left
    work.mkdir()
    request = {
        "parent": os.getpid(),
        "uploads": str(folder),
        "work": str(work),
        "kind": dataset.kind,
        "accept_partial": accept_partial,
        "data_bytes": _room(settings, db, dataset),
        "limits": _limits(settings),
        "files": [
            {"name": name, "path": str(uploads.file_of(folder, number))}
            for number, name in enumerate(names)
        ],
    }
    report = _run_child(request, work)
    if not report.problems:
        return _believed(work)
    if report.fatal or not report.usable:
        return Checked(report.problems)
    return (
        _believed(work, report.problems)
        if accept_partial
        else Checked(report.problems, report.usable)
    )


def _write_sample(source: str, folder: Path) -> None:
    """A sample lies in the folder as if somebody had uploaded it."""
    scheme, _, name = source.partition(":")
    if scheme != "sample":
        return
    if name not in samples.SAMPLES:
        raise BadData("There is no such sample.")
    samples.write_zip(name, uploads.file_of(folder, 0))
    uploads.write_names(folder, [f"{name}.zip"])


def _room(settings: Settings, db: Database, dataset: Dataset) -> int:
    """Bytes that the pack may have: bounded by the settings and by what its owner may still hold."""
    with db.reading() as session:
        left = storage_left(session, settings, dataset.user_id) + dataset.bytes
    return min(UNPACKED * settings.max_upload_bytes, left)


def _limits(settings: Settings) -> dict[str, int]:
    """Those of worker/checking/refusal.py that are settings."""
    return {
        "items": settings.max_items,
        "image_bytes": settings.max_image_bytes,
        "image_pixels": settings.max_image_pixels,
        "total_pixels": settings.max_dataset_pixels,
        "text_bytes": settings.max_text_bytes,
        "total_characters": settings.max_dataset_characters,
    }


def _run_child(request: dict[str, Any], work: Path) -> Report:
    """What the child found, or that it could not finish."""
    with (work / "stderr").open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", EXECUTABLE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=Path(__file__).resolve().parent.parent,
            env=bare_environment(OMP_NUM_THREADS="1"),
            start_new_session=True,
        )
        try:
            child.communicate(json.dumps(request).encode(), timeout=WALL_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the check took longer than %s seconds", WALL_SECONDS)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode == OUR_DISK_IS_FULL:
        raise StorageFull()
    if child.returncode == 0:
        return _reported(work)
    trace = _end_of(work / "stderr")
    log.error("the checking process ended with %s: %s", child.returncode, places(trace))
    return Report([_unfinished(work, child.returncode)], fatal=True)


def _end_of(path: Path) -> str:
    """However much a parser printed."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_TRACE))
        return file.read(LONGEST_TRACE).decode(errors="replace")


def _reported(work: Path) -> Report:
    with (work / REPORT).open(encoding="utf-8") as file:
        report = json.loads(file.read(LONGEST_REPORT))
    log.info("sandbox of the check: %s", report["sandbox"])
    problems = [
        {"name": str(problem["name"]), "message": str(problem["message"])}
        for problem in report["problems"]
    ]
    return Report(problems, bool(report["fatal"]), int(report["items"]))


def _unfinished(work: Path, status: int) -> Problem:
    """The child was stopped by a limit, or a parser crashed; the file it looked at is to blame."""
    try:
        name = (work / CURRENT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        name = ""
    late = status in (-signal.SIGXCPU, -signal.SIGKILL)
    words = "takes too long to check" if late else "could not be checked; it may be damaged"
    return {"name": name, "message": words}


def _believed(work: Path, problems: Sequence[Problem] = ()) -> Checked:
    """The pack's facts, counted here from verified items: the child may have been taken over."""
    facts = packs.Facts()
    try:
        preview = Preview(sum(1 for _ in packs.read_manifest(work / packs.MANIFEST)))
        for item, look in packs.looked_at(work):
            facts.add(item)
            preview.add(item, look)
        if facts.kind == "images":
            thumbnails.verified_size(work, facts.items)
    except BadData:
        log.exception("the checking process made a wrong pack")
        return Checked([{"name": "", "message": "The upload could not be checked."}])
    return Checked(list(problems), 0, facts.kind, facts.result(), preview.result())


# ---- the outcome -------------------------------------------------------------------------------


def _refuse(db: Database, dataset_id: str, checked: Checked) -> bool:
    """Whether the upload is to be kept: only if some of it could be used."""
    problems = datasets.problems_shape(checked.problems, usable=checked.usable)
    values: dict[str, Any] = {"state": "refused", "problems": problems}
    if not checked.usable:
        values["bytes"] = 0
    with db.writing() as session:
        statement = update(Dataset).where(*_is_waiting(dataset_id)).values(values)
        refused = session.execute(statement.returning(Dataset.id)).first()
    return bool(checked.usable and refused)


def _publish(db: Database, storage: Storage, dataset_id: str, checked: Checked, work: Path) -> bool:
    """Files first, then items in batches, then the one row that shows them. False if it was deleted."""
    facts, preview = checked.facts or {}, checked.preview or {}
    failpoint("check.before_publish")
    manifest = work / packs.MANIFEST
    sha256, _ = storage.put_file(datasets.key_of(dataset_id, packs.MANIFEST), manifest)
    size = sum(_put(storage, dataset_id, work / name) for name in PUBLISHED)
    storage.put_bytes(datasets.key_of(dataset_id, PREVIEW), json.dumps(preview).encode())
    failpoint("check.after_files")
    if not _write_items(db, dataset_id, manifest):
        return False
    failpoint("check.before_ready")
    with db.writing() as session:
        found = session.execute(
            update(Dataset)
            .where(*_is_waiting(dataset_id))
            .values(
                state="ready",
                kind=checked.kind,
                item_count=facts["items"],
                bytes=size,
                sha256=sha256,
                facts=facts,
                problems=datasets.problems_shape(checked.problems, preview["warnings"]),
            )
            .returning(Dataset.id)
        ).first()
        if found is None:
            datasets.forget_items(session, dataset_id)
    failpoint("check.after_ready")
    return found is not None


def _put(storage: Storage, dataset_id: str, path: Path) -> int:
    """Bytes of a file that not every pack has."""
    if not path.exists():
        return 0
    return storage.put_file(datasets.key_of(dataset_id, path.name), path)[1]


def _write_items(db: Database, dataset_id: str, manifest: Path) -> bool:
    """Rows of the items, in transactions short enough for others to write between them."""
    with db.writing() as session:
        datasets.forget_items(session, dataset_id)  # of an earlier run
    items = packs.read_manifest(manifest)
    while rows := [_row(dataset_id, item) for item in islice(items, ROWS_AT_ONCE)]:
        with db.writing() as session:
            if not _hold(session, dataset_id):
                return False
            session.execute(insert(DatasetItem), rows)
    return True


def _hold(session: Session, dataset_id: str) -> bool:
    """Whether the dataset still waits for its items; keeps it from being deleted meanwhile."""
    query = select(Dataset.id).where(*_is_waiting(dataset_id)).with_for_update(key_share=True)
    return session.scalar(query) is not None


def _row(dataset_id: str, item: packs.PackItem) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "n": item.n,
        "name": item.name,
        "sha256": item.sha256,
        "media_type": item.media_type,
        "offset": item.offset,
        "bytes": item.bytes,
        "label": item.label,
        "caption": item.caption,
        "facts": item.facts,
    }
