"""Uploads that are received piece by piece and continued after any interruption; a dataset is made of finished ones.

The row says how many bytes are on disk for good. Whoever continues raises the row's fence, so of two writers the
newer one goes on: bytes are written, synced and counted under the file's lock, by the holder of the fence alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from shared import uploads as places
from shared.db import NOW, clock
from shared.errors import Conflict, InvalidInput, NotFound, QuotaExceeded, TooLarge
from shared.ids import new_id
from shared.models import Upload, User
from shared.moments import rfc3339
from shared.storage import sync_folder, told_when_full
from web.services.room import check_disk, check_quota
from web.services.studio import Studio

BLOCK = 4 << 20  # synced and counted at a time; what is lost when a process dies
MOST = 1000  # of one user at a time

Shape = dict[str, Any]


class OffsetMismatch(Conflict):
    """The upload is at another offset; ask where it stands and go on from there."""

    code = "offset_mismatch"


@told_when_full()
def start(studio: Studio, user: User, length: int, name: str) -> Shape:
    """Raises TooLarge, QuotaExceeded, StorageFull."""
    most = studio.settings.max_upload_bytes
    if length > most:
        raise TooLarge(f"An upload may have {most:,} bytes.")
    check_disk(studio)
    upload_id = new_id()
    path = places.resumable_of(studio.settings, upload_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    sync_folder(path.parent)
    try:
        with studio.db.writing() as session:
            check_quota(session, studio, user, length)
            held = select(func.count()).where(Upload.user_id == user.id)
            if (session.scalar(held) or 0) >= MOST:
                raise QuotaExceeded(f"You have {MOST:,} unfinished uploads; finish or delete some.")
            at = clock(session)
            row = Upload(id=upload_id, user_id=user.id, name=name, length=length, offset=0, fence=0)
            row.created_at, row.expires_at = at, at + places.KEPT_SECONDS
            session.add(row)
    except QuotaExceeded:
        path.unlink(missing_ok=True)
        raise
    return _shape(row)


def show(studio: Studio, user: User, upload_id: str) -> Shape:
    with studio.db.reading() as session:
        return _shape(_own(session, user, upload_id))


def list_uploads(studio: Studio, user: User) -> Shape:
    """All that are not used yet, newest first."""
    with studio.db.reading() as session:
        query = select(Upload).where(Upload.user_id == user.id, Upload.expires_at > NOW)
        rows = session.scalars(query.order_by(Upload.id.desc()).limit(MOST)).all()
    return {"items": [_shape(row) for row in rows], "next": None}


def remove(studio: Studio, user: User, upload_id: str) -> None:
    with studio.db.writing() as session:
        session.delete(_own(session, user, upload_id))
    places.resumable_of(studio.settings, upload_id).unlink(missing_ok=True)


@told_when_full()
def receive(
    studio: Studio, user: User, upload_id: str, offset: int, chunks: Iterable[bytes]
) -> Shape:
    """Appends what comes, as far as it comes. Raises NotFound, OffsetMismatch, TooLarge, QuotaExceeded, StorageFull."""
    fence = _take(studio, user, upload_id, offset)
    try:
        path = places.resumable_of(studio.settings, upload_id)
        # without a buffer: what it could not write it would try once more when it is closed
        with path.open("r+b", buffering=0) as file:
            for block in _blocks(chunks):
                offset = _append(studio, file, upload_id, fence, offset, block)
    except FileNotFoundError:
        raise NotFound() from None
    return show(studio, user, upload_id)


def _take(studio: Studio, user: User, upload_id: str, offset: int) -> int:
    """The fence of who writes from now on."""
    check_disk(studio)
    with studio.db.writing() as session:
        row = _own(session, user, upload_id)
        fence = session.scalar(
            update(Upload)
            .where(Upload.id == row.id, Upload.offset == offset)
            .values(fence=Upload.fence + 1, expires_at=clock(session) + places.KEPT_SECONDS)
            .returning(Upload.fence)
        )
    if fence is None:
        raise OffsetMismatch(f"The upload is at offset {row.offset:,}, not {offset:,}.")
    return int(fence)


def _append(
    studio: Studio, file: FileIO, upload_id: str, fence: int, offset: int, block: bytes
) -> int:
    """The offset after this block, which is then on disk and counted."""
    check_disk(studio)
    with _locked(file):
        with studio.db.reading() as session:
            row = session.get(Upload, upload_id)
        if row is None:
            raise NotFound()
        if row.fence != fence:
            raise OffsetMismatch("Somebody else continues this upload.")
        if offset + len(block) > row.length:
            raise TooLarge(f"The upload was announced with {row.length:,} bytes.")
        _write(file, offset, block)
        offset += len(block)
        with studio.db.writing() as session:
            at = clock(session) + places.KEPT_SECONDS
            counted = session.execute(
                update(Upload)
                .where(Upload.id == upload_id, Upload.fence == fence)
                .values(offset=offset, expires_at=at)
                .returning(Upload.id)
            ).first()
    if counted is None:
        raise OffsetMismatch("Somebody else continues this upload.")
    return offset


def _write(file: FileIO, offset: int, block: bytes) -> None:
    """All of it, on disk; or nothing, so that a full disk is not kept full."""
    try:
        file.seek(offset)
        view = memoryview(block)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(offset)
        raise


@contextmanager
def _locked(file: FileIO) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        if len(gathered) >= BLOCK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


# ---- finished ----------------------------------------------------------------------------------


def finished(session: Session, user: User, upload_ids: list[str]) -> list[Upload]:
    """The user's uploads in this order, each complete. Raises InvalidInput with a pointer for each that is not."""
    found = {row.id: row for row in session.scalars(_all_own(session, user, upload_ids))}
    errors = []
    for n, upload_id in enumerate(upload_ids):
        row = found.get(upload_id)
        if row is None:
            errors.append({"pointer": f"/uploads/{n}", "message": "is no upload of yours"})
        elif row.offset != row.length:
            message = f"is not finished: {row.offset:,} of {row.length:,} bytes"
            errors.append({"pointer": f"/uploads/{n}", "message": message})
    if errors:
        raise InvalidInput(errors=errors)
    return [found[upload_id] for upload_id in upload_ids]


def use_up(session: Session, user: User, upload_ids: list[str]) -> None:
    """In the transaction that accepts their dataset: nobody else can use them. Raises Conflict."""
    gone = delete(Upload).where(
        Upload.id.in_(upload_ids), Upload.user_id == user.id, Upload.offset == Upload.length
    )
    if len(session.scalars(gone.returning(Upload.id)).all()) != len(upload_ids):
        raise Conflict("One of these uploads has just been used or deleted.")


def _all_own(session: Session, user: User, upload_ids: list[str]) -> Any:
    return select(Upload).where(
        Upload.id.in_(upload_ids), Upload.user_id == user.id, Upload.expires_at > NOW
    )


def _own(session: Session, user: User, upload_id: str) -> Upload:
    """Raises NotFound, also for another user's and for one that has expired."""
    row: Upload | None = session.scalar(_all_own(session, user, [upload_id]))
    if row is None:
        raise NotFound()
    return row


def _shape(row: Upload) -> Shape:
    return {
        "id": row.id,
        "name": row.name,
        "length": row.length,
        "offset": row.offset,
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
    }
