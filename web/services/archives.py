"""Many files as one download: the results of a job, chosen results, a model, a dataset, each with a manifest."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import datasets, packs
from shared.errors import Conflict, NotFound
from shared.models import Artifact, Dataset, DatasetItem, Job, Model, User
from shared.moments import rfc3339
from web.services import access, artifacts, cards, models, shown
from web.services.datasets import item_shape, section
from web.services.shapes import artifact_shape
from web.services.studio import Studio
from web.services.zips import Member, Names, safe, size_of, zipped

FORMAT = 1  # raised when the same things would give other bytes
MANIFEST = "manifest.json"
ITEMS_AT_ONCE = 500


@dataclass(frozen=True)
class Archive:
    """A zip that can be sent: `etag` names its bytes; `size` is None where they are not counted beforehand."""

    name: str
    etag: str
    size: int | None
    read: Callable[[], Iterator[bytes]]


# ---- results ---------------------------------------------------------------------------------------


def job_archive(studio: Studio, user: User, job_id: str) -> Archive:
    """What the job has made, maybe nothing. Raises NotFound."""
    with studio.db.reading() as session:
        job = access.own(session, Job, job_id, user)
        rows = shown.outputs(session, [job.id])
        about = _about_job(session, job, user)
    names = Names(MANIFEST)
    named = [(names.unique(row.name), row) for row in rows]
    manifest = {**about, "artifacts": [_entry(name, row) for name, row in named]}
    return _whole(_title(job.name or job.family, job.id), manifest, _files(studio, named))


def artifacts_archive(studio: Studio, user: User, ids: Sequence[str]) -> Archive:
    """Chosen results of any jobs, a folder for each job. Raises NotFound if the user may not see one of them."""
    with studio.db.reading() as session:
        rows = access.all_readable(session, Artifact, ids, user)
        job_ids = list(dict.fromkeys(row.job_id for row in rows))
        made = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(job_ids)))}
        # kept while each job is told: a session forgets rows that nobody holds, and would ask for them one by one
        held = artifacts.read_lineage(session, made.values())
        jobs = [_about_job(session, made[one], user) for one in job_ids]
        del held
    names = Names(MANIFEST)
    # whose job it was is nobody's business when only its result is shared
    folders = {row.id: row.job_id if row.user_id == user.id else "shared" for row in rows}
    named = [(names.unique(f"{folders[row.id]}/{row.name}"), row) for row in rows]
    manifest = {
        "format": FORMAT,
        "jobs": jobs,
        "artifacts": [
            _entry(name, row) | ({} if row.user_id == user.id else {"job_id": None})
            for name, row in named
        ],
    }
    return _whole("results", manifest, _files(studio, named))


def _about_job(session: Session, job: Job, user: User) -> dict[str, Any]:
    lineage = artifacts.lineage_of_job(session, job, user)
    mine = job.user_id == user.id
    return {
        "format": FORMAT,
        "job": {
            "id": job.id if mine else None,
            "kind": job.kind,
            "family": job.family,
            "family_version": job.family_version,
            "name": job.name if mine else "",
            "state": job.state,
            "seed": job.seed,
            "params": job.params,
            "created_at": rfc3339(job.created_at),
            "finished_at": rfc3339(job.finished_at),
        },
        "model": {"id": job.model_id if mine else None, "sha256": job.model_sha256}
        if job.model_id
        else None,
        "lineage": lineage,
    }


def _entry(name: str, row: Artifact) -> dict[str, Any]:
    return {"file": name, **artifact_shape(row)}


def _files(studio: Studio, named: Sequence[tuple[str, Artifact]]) -> list[Member]:
    """Raises NotFound at once when a file is gone; afterwards the answer has begun."""
    there = _there(studio, {row.location.rpartition("/")[0] for _, row in named})
    for _, row in named:
        if row.location not in there:
            raise NotFound(f"The file of artifact {row.id} is gone.")
    return [
        Member(name, row.bytes, partial(studio.storage.open, row.location)) for name, row in named
    ]


def _there(studio: Studio, folders: Iterable[str]) -> set[str]:
    """What lies in these folders: asking for each file would take long where the storage is far."""
    return {stored.key for folder in folders for stored in studio.storage.keys(folder)}


def _whole(name: str, manifest: dict[str, Any], files: list[Member]) -> Archive:
    """The manifest names every file by its hash, so its own hash names the bytes of the zip."""
    text = (json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
    return _of([_made(MANIFEST, text), *files], name, hashlib.sha256(text).hexdigest())


def _of(members: list[Member], name: str, etag: str) -> Archive:
    return Archive(f"{name}.zip", etag, size_of(members), lambda: zipped(members))


def _made(name: str, data: bytes) -> Member:
    return Member(name, len(data), lambda: io.BytesIO(data))


# ---- models ------------------------------------------------------------------------------------------


def model_archive(studio: Studio, user: User, model_id: str) -> Archive:
    """The folder that the owning library's `from_pretrained` loads, byte for byte, and a card. Raises NotFound."""
    with studio.db.reading() as session:
        row = access.readable(session, Model, model_id, user)
    card = models.get_model(studio, user, model_id)
    there = _there(studio, [row.location])
    for name in sorted(row.files):
        if f"{row.location}/{name}" not in there:
            raise NotFound(f"{name} of this model is gone.")
    members = [_model_file(studio, row, name, card["mine"]) for name in sorted(row.files)]
    # a card that the family wrote is part of what the hash of the model names: it stays as it is
    card_name = "CARD.md" if "README.md" in row.files else "README.md"
    card_text = cards.markdown(card).encode()
    members.insert(0, _made(card_name, card_text))
    if cards.META not in row.files:
        members.append(_made(cards.META, cards.meta(card).encode()))
    etag = hashlib.sha256(card_text + row.sha256.encode()).hexdigest()
    return _of(members, _title(row.name, row.id), etag)


def _model_file(studio: Studio, row: Model, name: str, mine: bool) -> Member:
    opened = partial(studio.storage.open, f"{row.location}/{name}")
    if name == cards.META and not mine:
        with opened() as file:
            return _made(name, cards.stranger_copy(file.read()))
    return Member(name, int(row.files[name]["bytes"]), opened)


# ---- datasets ----------------------------------------------------------------------------------------


def dataset_archive(studio: Studio, user: User, dataset_id: str) -> Archive:
    """Every item as a file, and manifest.jsonl with labels and captions. Raises NotFound, Conflict until it is ready.

    Items may be millions: they are read a page at a time, so their number and their names take no memory.
    """
    with studio.db.reading() as session:
        row = access.readable(session, Dataset, dataset_id, user)
        if row.state != "ready":
            raise Conflict("The dataset is not ready.")
    key = datasets.key_of(row.id, packs.DATA)
    try:
        studio.storage.size(key)
    except NotFound:
        raise NotFound("The data of this dataset is gone.") from None
    pack = partial(studio.storage.open, key)
    etag = hashlib.sha256(f"{FORMAT} {row.id} {row.sha256}".encode()).hexdigest()
    name = f"{_title(row.name, row.id)}.zip"
    return Archive(name, etag, None, lambda: zipped(_dataset_members(studio, row.id, pack)))


def _title(name: str, row_id: str) -> str:
    """The name of a download: one part, and what makes it unique."""
    return f"{'_'.join(safe(name).replace('/', ' ').split())}-{row_id}"


def _dataset_members(
    studio: Studio, dataset_id: str, pack: Callable[[], BinaryIO]
) -> Iterator[Member]:
    lines = sum(map(len, _manifest_lines(studio, dataset_id)))
    yield Member(packs.MANIFEST, lines, lambda: _as_file(_manifest_lines(studio, dataset_id)))
    for item in _items(studio, dataset_id):
        opened = partial(section, pack, item.offset, item.bytes)
        yield Member(_file_of(item), item.bytes, opened)


def _manifest_lines(studio: Studio, dataset_id: str) -> Iterator[bytes]:
    for item in _items(studio, dataset_id):
        line = {"file": _file_of(item), **item_shape(item)}
        yield (json.dumps(line, ensure_ascii=False) + "\n").encode()


def _as_file(lines: Iterator[bytes]) -> BinaryIO:
    return io.BufferedReader(_Lines(lines))


class _Lines(io.RawIOBase):
    """Lines that are made as they are read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._lines, b"")
        found = self._rest[: len(buffer)]
        buffer[: len(found)] = found
        self._rest = self._rest[len(found) :]
        return len(found)


def _file_of(item: DatasetItem) -> str:
    """Its number makes the name unique; the folders of the upload, which may be labels, stay."""
    folder, _, last = safe(item.name).rpartition("/")
    suffix = ".png" if item.media_type == "image/png" else ".txt"
    last = last if last.lower().endswith(suffix) else last + suffix
    return f"items/{folder}/{item.n:06d}-{last}" if folder else f"items/{item.n:06d}-{last}"


def _items(studio: Studio, dataset_id: str) -> Iterator[DatasetItem]:
    """In order; no session is open while somebody reads slowly."""
    after = -1
    while True:
        with studio.db.reading() as session:
            page = session.scalars(
                select(DatasetItem)
                .where(DatasetItem.dataset_id == dataset_id, DatasetItem.n > after)
                .order_by(DatasetItem.n)
                .limit(ITEMS_AT_ONCE)
            ).all()
        yield from page
        if len(page) < ITEMS_AT_ONCE:
            return
        after = page[-1].n
