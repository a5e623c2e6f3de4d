"""Which files the rows of a backup name: what lies in storage, and uploads that wait for their check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select

from shared import datasets, packs, uploads
from shared.config import Settings

PREFIXES = ("artifacts", "checkpoints", "models", "datasets")


@dataclass(frozen=True)
class Named:
    """A file that a row names. `needed`: its row is shown, so it must be there."""

    place: str  # storage | uploads
    key: str
    table: str
    row_id: str
    sha256: str = ""  # empty where no row knows it
    bytes: int = 0
    needed: bool = True


def named_first(
    settings: Settings, connection: Connection, tables: dict[str, Table]
) -> list[Named]:
    """What soon goes away on a running installation: uploads being checked, checkpoints that newer ones replace."""
    checkpoint = tables["checkpoint"].c
    found = [
        Named("storage", row.location, "checkpoint", row.id, row.sha256, row.bytes)
        for row in connection.execute(select(*checkpoint).order_by(checkpoint.step.desc()))
    ]
    return [*_uploads(settings, connection, tables["dataset"]), *found]


def named_later(connection: Connection, tables: dict[str, Table]) -> Iterator[Named]:
    for row in connection.execute(select(*tables["artifact"].c)):
        shown = row.deleted_at is None
        yield Named("storage", row.location, "artifact", row.id, row.sha256, row.bytes, shown)
    for row in connection.execute(select(*tables["model"].c)):
        for name, facts in row.files.items():
            key, shown = f"{row.location}/{name}", row.deleted_at is None
            yield Named("storage", key, "model", row.id, facts["sha256"], facts["bytes"], shown)
    ready = select(*tables["dataset"].c).where(tables["dataset"].c.state == "ready")
    for row in connection.execute(ready):
        yield from _pack(row)


def _pack(row: Any) -> Iterator[Named]:
    shown = row.deleted_at is None
    manifest = datasets.key_of(row.id, packs.MANIFEST)
    yield Named("storage", manifest, "dataset", row.id, row.sha256, 0, shown)
    data = datasets.key_of(row.id, packs.DATA)
    yield Named("storage", data, "dataset", row.id, "", row.bytes, shown)
    for name in datasets.PACK_EXTRAS:
        yield Named("storage", datasets.key_of(row.id, name), "dataset", row.id, needed=False)


def _uploads(settings: Settings, connection: Connection, table: Table) -> Iterator[Named]:
    waiting = select(table.c.id).where(
        table.c.state.in_(("checking", "refused")), table.c.deleted_at.is_(None)
    )
    for dataset_id in connection.scalars(waiting).all():
        folder = uploads.folder_of(settings, dataset_id)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name == uploads.NAMES or path.name.isdigit():
                key = f"{dataset_id}/{path.name}"
                size = path.stat().st_size if path.exists() else 0
                yield Named("uploads", key, "dataset", dataset_id, "", size, needed=False)


def path_of_upload(settings: Settings, key: str) -> Path:
    return uploads.uploads_of(settings) / key
