"""What an earlier result was made from: by its job, by the file as it was downloaded, or by what the file says."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.errors import BadRequest, InvalidInput, NotFound
from shared.models import Artifact, Job, Model, User
from shared.params import text_problems
from web.requests import LARGEST_SEED, parse_json
from web.services import access
from web.services.studio import Studio

PNG_START = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"parameters"
MOST_CHUNKS = 64  # labels stand in front of the picture
MOST_TEXT = 1 << 20
PIECE = 1 << 20


@dataclass(frozen=True)
class Recalled:
    """A job to fill a form with."""

    kind: str
    subject: str  # the family of a training, the model of a generation
    params: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    dataset_id: str | None = None
    job_id: str | None = None


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...


def of_job(studio: Studio, user: User, job_id: str) -> Recalled:
    """Raises NotFound."""
    with studio.db.reading() as session:
        return _of(access.own(session, Job, job_id, user))


def of_file(studio: Studio, user: User, file: Readable) -> Recalled:
    """One's own result by its bytes; else by the metadata in it, if its model is here. Raises InvalidInput."""
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    with studio.db.reading() as session:
        job = session.scalars(
            select(Job)
            .join(Artifact, Artifact.job_id == Job.id)
            .where(
                Artifact.sha256 == digest.hexdigest(),
                Artifact.user_id == user.id,
                Artifact.deleted_at.is_(None),
                Job.deleted_at.is_(None),
            )
            .order_by(Job.id.desc())
            .limit(1)
        ).one_or_none()
        if job is not None:
            _check_model(session, user, job)
            return _of(job)
        made_from = _made_from(file)
        if made_from is None:
            raise _refusal("is no result that was made here")
        model = session.scalars(
            select(Model)
            .where(Model.sha256 == made_from["model"], access.may_read(Model, user))
            .order_by(Model.id.desc())
            .limit(1)
        ).one_or_none()
    if model is None:
        raise _refusal("was made with a model that is not here")
    return Recalled("generate", model.id, made_from["params"], made_from["seed"])


def _of(job: Job) -> Recalled:
    # a generation that waited for its training has its model by now, or has none to fill a form for
    subject = job.family if job.kind == "train" else job.model_id or ""
    return Recalled(job.kind, subject, dict(job.params), job.seed, job.dataset_id, job.id)


def _check_model(session: Session, user: User, job: Job) -> None:
    """A generation whose model is gone leads to no form. Raises InvalidInput."""
    if job.kind == "train":
        return
    try:
        access.readable(session, Model, job.model_id or "", user)
    except NotFound:
        raise _refusal("was made with a model that is not here") from None


def _refusal(message: str) -> InvalidInput:
    return InvalidInput(errors=[{"pointer": "/file", "message": message}])


def _made_from(file: Readable) -> dict[str, Any] | None:
    """What worker/labels.py writes into a PNG: {"model", "params", "seed", "index"}."""
    file.seek(0)
    if file.read(len(PNG_START)) != PNG_START:
        return None
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return None
        (size,) = struct.unpack(">I", head[:4])
        if head[4:] == b"iTXt" and size <= MOST_TEXT:
            content = file.read(size)
            file.read(4)
            keyword, _, rest = content.partition(b"\0")
            if keyword == KEYWORD and rest[:4] == b"\0\0\0\0":
                return _checked(rest[4:])
        else:
            file.seek(size + 4, 1)
    return None


def _checked(text: bytes) -> dict[str, Any] | None:
    """Anybody may have written it: as strict as with the body of a request."""
    try:
        found = parse_json(text)
    except (BadRequest, InvalidInput):
        return None
    sound = (
        isinstance(found, dict)
        and isinstance(found.get("model"), str)
        and isinstance(found.get("params"), dict)
        and type(found.get("seed")) is int
        and 0 <= found["seed"] <= LARGEST_SEED
        and not any(text_problems(part, MOST_TEXT) for part in _texts(found))
    )
    return found if sound else None


def _texts(found: Any) -> Iterator[str]:
    """Every text in it, also the names."""
    if isinstance(found, str):
        yield found
    parts = found.items() if isinstance(found, dict) else ()
    for part in found if isinstance(found, list) else chain.from_iterable(parts):
        yield from _texts(part)
