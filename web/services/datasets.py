"""Datasets: uploads and samples in, their items out, deletion that says what depends on them."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from sqlalchemy import func, select

from shared import datasets, packs, short_tasks, uploads
from shared.db import clock
from shared.errors import (
    AppError,
    Conflict,
    InUse,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooLarge,
    Unavailable,
)
from shared.ids import new_id
from shared.models import Dataset, DatasetItem, User
from shared.moments import rfc3339
from shared.samples import SAMPLES
from shared.storage import told_when_full
from web.requests import ModelChange
from web.services import access
from web.services import uploads as resumable
from web.services.job_lists import Page
from web.services.room import check_disk, check_quota
from web.services.studio import Studio
from web.services.texts import beginnings

log = logging.getLogger(__name__)

CHUNK = 1 << 20
LONGEST_NAME = 200
LONGEST_FILE_NAME = 1000

Shape = dict[str, Any]


class Readable(Protocol):
    """A received file. One that also has `move_to(path) -> bytes` is moved instead of copied."""

    def read(self, size: int = -1, /) -> bytes: ...


# ---- in ----------------------------------------------------------------------------------------


def samples() -> list[Shape]:
    """The built-in samples."""
    return [
        {"name": one.name, "kind": one.kind, "title": one.title, "note": one.note}
        for one in SAMPLES.values()
    ]


def add_sample(studio: Studio, user: User, sample: str, name: str = "") -> Shape:
    """Raises InvalidInput for an unknown sample, QuotaExceeded, StorageFull."""
    found = SAMPLES.get(sample)
    if found is None:
        message = f"must be one of {', '.join(SAMPLES)}"
        raise InvalidInput(errors=[{"pointer": "/sample", "message": message}])
    row = Dataset(
        id=new_id(),
        user_id=user.id,
        name=name or found.title,
        kind=found.kind,
        source=f"sample:{sample}",
        note=found.note,
    )
    return _accept(studio, user, row)


@told_when_full()
def add_upload(
    studio: Studio,
    user: User,
    name: str,
    kind: str | None,
    files: Iterable[tuple[str | None, Readable]],
    accept_partial: bool = False,
) -> Shape:
    """Stores (file name, stream) pairs and accepts them for checking.

    Raises InvalidInput without files, TooLarge, QuotaExceeded, StorageFull.
    """
    check_disk(studio)
    dataset_id = new_id()
    folder = uploads.folder_of(studio.settings, dataset_id)
    try:
        names, size = _store(folder, files, studio.settings.max_upload_bytes)
        if not size:
            message = "must hold at least one file that is not empty"
            raise InvalidInput(errors=[{"pointer": "/file", "message": message}])
        uploads.write_names(folder, names)
        row = Dataset(
            id=dataset_id,
            user_id=user.id,
            name=name.strip() or _default_name(names),
            kind=kind or "",
            source="upload",
            bytes=size,
        )
        return _accept(studio, user, row, accept_partial)
    except (InvalidInput, TooLarge, QuotaExceeded, StorageFull, OSError):
        uploads.discard(folder)
        raise
    # After an error of the database the row may be there all the same: the sweep decides.


@told_when_full()
def add_finished(
    studio: Studio, user: User, name: str, kind: str, upload_ids: list[str], accept_partial: bool
) -> Shape:
    """A dataset of uploads that came piece by piece; they are used up by it.

    Raises InvalidInput for those that are not finished, Conflict, TooLarge, QuotaExceeded, StorageFull.
    """
    with studio.db.reading() as session:
        rows = resumable.finished(session, user, upload_ids)
    size, most = sum(row.length for row in rows), studio.settings.max_upload_bytes
    if size > most:
        raise TooLarge(f"A dataset may be uploaded with {most:,} bytes.")
    if not size:
        message = "must hold at least one file that is not empty"
        raise InvalidInput(errors=[{"pointer": "/uploads", "message": message}])
    row = Dataset(id=new_id(), user_id=user.id, kind=kind, source="upload", bytes=size)
    names = [upload.name for upload in rows]
    row.name = name.strip() or _default_name(names)
    folder = uploads.folder_of(studio.settings, row.id)
    paths = [uploads.resumable_of(studio.settings, upload_id) for upload_id in upload_ids]
    try:
        folder.mkdir(parents=True)
        for number, path in enumerate(paths):
            os.link(path, uploads.file_of(folder, number))
        uploads.write_names(folder, names)
        made = _accept(studio, user, row, accept_partial, upload_ids)
    except (AppError, OSError) as error:
        uploads.discard(folder)
        if isinstance(error, FileNotFoundError):
            raise Conflict("One of these uploads has just been used or deleted.") from None
        raise
    for path in paths:
        path.unlink(missing_ok=True)
    return made


def accept_as_it_is(studio: Studio, user: User, dataset_id: str) -> Shape:
    """Checks a refused upload again, without its bad files. Raises NotFound, Conflict."""
    check_disk(studio)
    with studio.db.writing() as session:
        row = access.own_shareable(session, Dataset, dataset_id, user)
        access.hold(session, Dataset, row.id, to_delete=True)
        session.refresh(row)
        if row.state != "refused":
            raise Conflict("Only a refused dataset can be accepted as it is.")
        folder = uploads.folder_of(studio.settings, row.id)
        if not (row.problems or {}).get("usable") or uploads.read_names(folder) is None:
            raise Conflict("Nothing of this upload can be used any more; please upload it again.")
        row.state, row.problems = "checking", datasets.accepted_shape()
        arguments = {"dataset_id": row.id, "accept_partial": True}
        slot = datasets.check_slot(row.id, again=True)
        if short_tasks.add(session, datasets.CHECK_TASK, arguments, slot) is None:
            raise Conflict("This dataset has been accepted before; please upload it again.")
        session.flush()
        shape = dataset_shape(row, mine=True)
    studio.wakeups.tasks()
    return shape


def _store(
    folder: Path, files: Iterable[tuple[str | None, Readable]], most: int
) -> tuple[list[str], int]:
    """(names, bytes) of what now lies in the folder as 0, 1, ..., on disk."""
    folder.mkdir(parents=True)
    names: list[str] = []
    size = 0
    for filename, stream in files:
        size += _store_one(stream, uploads.file_of(folder, len(names)), most - size)
        if size > most:
            raise TooLarge(f"An upload may have {most:,} bytes.")
        names.append((filename or "file")[-LONGEST_FILE_NAME:])
    return names, size


def _store_one(stream: Readable, path: Path, most: int) -> int:
    move = getattr(stream, "move_to", None)
    if move is not None:
        return int(move(path))
    size = 0
    with path.open("wb") as file:
        while size <= most and (chunk := stream.read(CHUNK)):
            size += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size


def _accept(
    studio: Studio,
    user: User,
    row: Dataset,
    accept_partial: bool = False,
    upload_ids: Sequence[str] = (),
) -> Shape:
    """The row and its check in one transaction, which uses up its uploads; the nudge after it."""
    check_disk(studio)
    with studio.db.writing() as session:
        if upload_ids:
            resumable.use_up(session, user, list(upload_ids))
        check_quota(session, studio, user, row.bytes or 0)
        row.state = "checking"
        row.created_at = clock(session)
        session.add(row)
        session.flush()
        arguments: Shape = {"dataset_id": row.id}
        if accept_partial:
            arguments["accept_partial"] = True
        short_tasks.add(session, datasets.CHECK_TASK, arguments, datasets.check_slot(row.id))
        shape = dataset_shape(row, mine=True)
    studio.wakeups.tasks()
    return shape


def _default_name(names: Sequence[str]) -> str:
    last = names[0].replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(character for character in last if character.isprintable())
    return shown[:LONGEST_NAME] or "dataset"


# ---- out ---------------------------------------------------------------------------------------


def list_datasets(studio: Studio, user: User, page: Page | None = None) -> Shape:
    """The user's own and the shared ones, newest first."""
    page = page or Page()
    query = select(Dataset).where(access.may_read(Dataset, user)).order_by(Dataset.id.desc())
    if page.after:
        query = query.where(Dataset.id < page.after)
    with studio.db.reading() as session:
        rows = session.scalars(query.limit(page.size + 1)).all()
    items = [dataset_shape(row, row.user_id == user.id) for row in rows[: page.size]]
    return {"items": items, "next": items[-1]["id"] if len(rows) > page.size else None}


def count_datasets(studio: Studio, user: User) -> int:
    with studio.db.reading() as session:
        query = select(func.count()).select_from(Dataset).where(access.may_read(Dataset, user))
        return session.scalar(query) or 0


def get_dataset(studio: Studio, user: User, dataset_id: str) -> Shape:
    """Raises NotFound."""
    with studio.db.reading() as session:
        row = access.readable(session, Dataset, dataset_id, user)
    return dataset_shape(row, row.user_id == user.id)


def list_items(
    studio: Studio, user: User, dataset_id: str, after: int = -1, limit: int = 50
) -> Shape:
    """Items in order; `next` is the number of the last one shown. None while it is being checked."""
    with studio.db.reading() as session:
        dataset = access.readable(session, Dataset, dataset_id, user)
        rows: Sequence[DatasetItem] = []
        if dataset.state == "ready":
            query = select(DatasetItem).where(
                DatasetItem.dataset_id == dataset.id, DatasetItem.n > after
            )
            rows = session.scalars(query.order_by(DatasetItem.n).limit(limit + 1)).all()
    items = [item_shape(row) for row in rows[:limit]]
    return {"items": items, "next": str(items[-1]["n"]) if len(rows) > limit else None}


def open_item(studio: Studio, user: User, dataset_id: str, n: int) -> tuple[Shape, packs.Section]:
    """An item and its bytes as a file, for the caller to close. Raises NotFound."""
    with studio.db.reading() as session:
        dataset = access.readable(session, Dataset, dataset_id, user)
        row = session.get(DatasetItem, (dataset.id, n))
    if row is None or dataset.state != "ready":
        raise NotFound()
    data = studio.storage.open(datasets.key_of(dataset.id, packs.DATA))
    return item_shape(row), packs.Section(data, row.offset, row.bytes)


def item_texts(
    studio: Studio, user: User, dataset_id: str, numbers: Collection[int], characters: int
) -> dict[int, str | None]:
    """By number, how these items begin; None where that cannot be read. Raises NotFound for the dataset."""
    with studio.db.reading() as session:
        dataset = access.readable(session, Dataset, dataset_id, user)
        query = select(DatasetItem).where(DatasetItem.dataset_id == dataset.id)
        rows = session.scalars(query.where(DatasetItem.n.in_(numbers))).all()
    pack = partial(studio.storage.open, datasets.key_of(dataset.id, packs.DATA))
    opened = [partial(section, pack, row.offset, row.bytes) for row in rows]
    read = beginnings(opened, characters)
    return {row.n: text for row, text in zip(rows, read, strict=True)}


def section(pack: Callable[[], BinaryIO], offset: int, size: int) -> BinaryIO:
    """An item as a file."""
    return io.BufferedReader(packs.Section(pack(), offset, size))


def dataset_shape(row: Dataset, mine: bool) -> Shape:
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind or None,
        "state": row.state,
        "items": row.item_count or 0,
        "bytes": row.bytes or 0,
        "sha256": row.sha256 or None,
        "problems": (row.problems or {}).get("files", []),
        "warnings": (row.problems or {}).get("warnings", []),
        "can_accept": row.state == "refused" and bool((row.problems or {}).get("usable")),
        "visibility": row.visibility or "private",
        "mine": mine,
        "source": row.source,
        "facts": row.facts or {},
        "note": row.note or "",
        "created_at": rfc3339(row.created_at),
    }


def item_shape(row: DatasetItem) -> Shape:
    return {
        "n": row.n,
        "name": row.name,
        "media_type": row.media_type,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "label": row.label,
        "caption": row.caption,
        "facts": row.facts or {},
    }


# ---- change ------------------------------------------------------------------------------------


def change_dataset(studio: Studio, user: User, dataset_id: str, change: ModelChange) -> Shape:
    """Name and visibility. Raises NotFound, also for a shared dataset of somebody else."""
    with studio.db.writing() as session:
        row = access.own_shareable(session, Dataset, dataset_id, user)
        access.change(session, row, user, change)
        return dataset_shape(row, mine=True)


def delete_dataset(studio: Studio, user: User, dataset_id: str, force: bool = False) -> None:
    """Raises InUse with what depends on it; by force it is hidden, and jobs already accepted keep its bytes."""
    with studio.db.writing() as session:
        row = access.own_shareable(session, Dataset, dataset_id, user)
        access.hold(session, Dataset, row.id, to_delete=True)
        jobs = datasets.accepted_jobs(session, row.id)
        models = datasets.trained_models(session, row.id)
        if (jobs or models) and not force:
            depends = [
                *access.told(user.id, "job", jobs),
                *access.told(user.id, "model", models),
            ]
            raise InUse("Models or accepted jobs depend on this dataset.", dependents=depends)
        if datasets.is_remembered(session, row.id):
            row.deleted_at = clock(session)
        else:
            datasets.forget_items(session, row.id)
            session.delete(row)
    uploads.discard(uploads.folder_of(studio.settings, dataset_id))
    if not jobs:
        _free(studio, dataset_id)


def _free(studio: Studio, dataset_id: str) -> None:
    try:
        datasets.delete_bytes(studio.storage, dataset_id)
    except (OSError, Unavailable) as error:
        log.warning("bytes of a deleted dataset are left to the sweep: %s", error)
        return
    with studio.db.writing() as session:
        datasets.forget_items(session, dataset_id)
