"""Makes a backup of an installation that may be at work, and looks through one that was made."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Table, func, select

import migrations
from shared import packs
from shared.config import Settings
from shared.db import Database
from shared.errors import BadData, Conflict, DatabaseTooNew, NotFound
from shared.storage import CHUNK, Storage, told_when_full
from shared.storages import open_storage
from web.backup import rows
from web.backup.archive import FORMAT, BadBackup, Source, Target, target_of
from web.backup.files import Named, named_first, named_later, path_of_upload

COUNTED = ("artifact", "checkpoint", "model", "dataset")

Progress = Callable[[int], None]  # bytes since the last call


class NothingThere(Conflict):
    """There is no database to make a backup of."""

    code = "nothing_there"


@told_when_full()
def make_backup(settings: Settings, path: Path, progress: Progress) -> dict[str, Any]:
    """Returns the manifest. Raises NothingThere, DatabaseTooNew, StorageFull, StorageAway."""
    standing = migrations.status(settings.database)
    if standing == "empty":
        raise NothingThere()
    if standing == "newer":
        raise DatabaseTooNew()
    db = Database(settings.database, pool_size=1)
    try:
        with target_of(path) as target:
            return _Backup(settings, db, target, progress).make()
    finally:
        db.dispose()


def bytes_of(settings: Settings) -> int:
    """About how much there is to copy, for a progress bar."""
    if migrations.status(settings.database) == "empty":
        return 0
    db = Database(settings.database, pool_size=1)
    try:
        with rows.snapshot(db) as connection:
            tables = {table.name: table for table in rows.tables_of(connection)}
            sums = [func.coalesce(func.sum(tables[name].c.bytes), 0) for name in COUNTED]
            return sum(int(connection.scalar(select(one)) or 0) for one in sums)
    finally:
        db.dispose()


class _Backup:
    def __init__(
        self, settings: Settings, db: Database, target: Target, progress: Progress
    ) -> None:
        self._settings = settings
        self._db = db
        self._storage: Storage = open_storage(settings)
        self._target = target
        self._progress = progress
        self._files: list[dict[str, Any]] = []
        self._missing: list[dict[str, Any]] = []
        self._copied = 0

    def make(self) -> dict[str, Any]:
        with rows.snapshot(self._db) as connection:
            tables = {table.name: table for table in rows.tables_of(connection)}
            revision = connection.exec_driver_sql(
                "SELECT version_num FROM alembic_version"
            ).scalar()
            self._take(named_first(self._settings, connection, tables))
            dumped = {name: self._dump(connection, table) for name, table in tables.items()}
            later = list(named_later(connection, tables))
        self._take(later)
        self._look_again(tables)
        manifest = {
            "format": FORMAT,
            "made_at": time.time(),
            "revision": revision,
            "database": self._db.engine.dialect.name,
            "tables": dumped,
            "files": self._list_files(),
            "missing": self._missing,
        }
        self._target.finish(manifest)
        return manifest | {"copied_bytes": self._copied}

    def _dump(self, connection: Connection, table: Table) -> dict[str, Any]:
        path = self._target.folder / table.name
        count = rows.dump(connection, table, path)
        return {"rows": count, "sha256": self._add(path)}

    def _list_files(self) -> dict[str, Any]:
        path = self._target.folder / "files"
        with gzip.GzipFile(path, "wb", mtime=0) as file:
            for one in self._files:
                file.write(json.dumps(one).encode() + b"\n")
        size = sum(one["bytes"] for one in self._files)
        return {"count": len(self._files), "bytes": size, "sha256": self._add(path)}

    def _add(self, path: Path) -> str:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if self._target.has(sha256):
            path.unlink()
        else:
            self._target.add(sha256, path)
        return sha256

    # ---- files

    def _take(self, named: Iterable[Named]) -> None:
        for one in named:
            try:
                sha256, size = self._stored(one)
            except (NotFound, FileNotFoundError):
                self._miss(one, "gone")
            except BadData:
                self._miss(one, "damaged")
            else:
                known = {"place": one.place, "key": one.key, "sha256": sha256, "bytes": size}
                self._files.append(known)

    def _miss(self, one: Named, why: str) -> None:
        if one.needed or why == "damaged":
            self._missing.append({"table": one.table, "id": one.row_id, "key": one.key, "why": why})

    def _stored(self, one: Named) -> tuple[str, int]:
        """Hash and size of what is now in the backup. Raises NotFound, BadData."""
        if one.sha256 and self._target.has(one.sha256):
            size = one.bytes or self._storage.size(one.key)
            self._progress(size)
            return one.sha256, size
        path = self._target.folder / "file"
        path.unlink(missing_ok=True)
        sha256, size = self._copy(one, path)
        if one.sha256 and sha256 != one.sha256:
            raise BadData()
        if one.key.endswith(f"/{packs.DATA}") and one.table == "dataset":
            self._check_pack(one, path)
        if self._target.has(sha256):
            path.unlink()
        else:
            self._target.add(sha256, path)
            self._copied += size
        return sha256, size

    def _copy(self, one: Named, path: Path) -> tuple[str, int]:
        """A hard link where that can be: stored files are never written again."""
        here = self._here(one)
        if here is not None:
            with suppress(OSError):
                os.link(here, path)
        if path.exists():
            with path.open("rb") as file:
                return self._read(file, None)
        with self._open(one) as file, path.open("wb") as copy:
            return self._read(file, copy)

    def _read(self, file: BinaryIO, copy: BinaryIO | None) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if copy is not None:
                copy.write(chunk)
            self._progress(len(chunk))
        return digest.hexdigest(), size

    def _here(self, one: Named) -> Path | None:
        if one.place == "storage":
            return self._storage.local_path(one.key)
        return None  # an upload is removed, not kept, when it is checked; and it may be continued

    def _open(self, one: Named) -> BinaryIO:
        if one.place == "uploads":
            return path_of_upload(self._settings, one.key).open("rb")
        return self._storage.open(one.key)

    def _check_pack(self, one: Named, path: Path) -> None:
        """The manifest knows every item of the data."""
        key = f"{one.key.rpartition('/')[0]}/{packs.MANIFEST}"
        with self._storage.open(key) as manifest, path.open("rb") as data:
            for _ in packs.verified_files(manifest, data):
                pass

    def _look_again(self, tables: dict[str, Table]) -> None:
        """What was deleted while the backup was made is no damage."""
        with self._db.reading() as session:
            for one in self._missing:
                columns = tables[one["table"]].c
                query = select(columns.id).where(columns.id == one["id"])
                if "deleted_at" in columns:
                    query = query.where(columns.deleted_at.is_(None))
                if one["why"] == "gone" and session.scalar(query) is None:
                    one["why"] = "deleted"


def damage_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """What should have been in the backup and was lost before."""
    return [one for one in manifest["missing"] if one["why"] != "deleted"]


def summary_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """For people and for --json."""
    return {
        "made_at": manifest["made_at"],
        "revision": manifest["revision"],
        "database": manifest["database"],
        "rows": sum(table["rows"] for table in manifest["tables"].values()),
        "files": manifest["files"]["count"],
        "bytes": manifest["files"]["bytes"],
        "copied_bytes": manifest.get("copied_bytes"),
        "missing": damage_of(manifest),
    }


# ---- verified ------------------------------------------------------------------------------------------


def verify(source: Source, progress: Progress) -> list[dict[str, Any]]:
    """Every blob is what its name says and every table has its rows; returns the files. Raises BadBackup."""
    manifest = source.manifest
    seen: set[str] = set()
    try:
        for name, table in manifest["tables"].items():
            _verify_blob(source, table["sha256"], seen, lambda _: None)
            with source.open(table["sha256"]) as file:
                if sum(1 for _ in rows.lines(file)) != table["rows"]:
                    raise BadBackup(f"The table {name} has not as many rows as it should.")
        _verify_blob(source, manifest["files"]["sha256"], seen, lambda _: None)
        with source.open(manifest["files"]["sha256"]) as file:
            files = list(rows.lines(file))
        if len(files) != manifest["files"]["count"]:
            raise BadBackup("It does not list as many files as it should.")
        for one in files:
            _verify_blob(source, one["sha256"], seen, progress)
    except (ValueError, KeyError, TypeError, OSError, EOFError, tarfile.TarError) as error:
        raise BadBackup(f"It cannot be read: {error}") from None
    return files


def _verify_blob(source: Source, sha256: str, seen: set[str], progress: Progress) -> None:
    if sha256 in seen:
        return
    seen.add(sha256)
    digest = hashlib.sha256()
    with source.open(sha256) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            progress(len(chunk))
    if digest.hexdigest() != sha256:
        raise BadBackup(f"A part is damaged: {sha256}")
