"""Puts a backup into an empty installation: all of it is looked through first, and the rows come in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

import migrations
from shared import restored, uploads
from shared.config import Settings
from shared.db import Database
from shared.errors import Conflict, DatabaseTooNew
from shared.storage import LocalStorage, Storage, chunks_of, told_when_full, whole_key
from shared.storages import open_storage
from web import data_folder
from web.backup import rows
from web.backup.archive import BadBackup, Source
from web.backup.files import PREFIXES
from web.backup.making import Progress, verify

Row = dict[str, Any]


class NotEmpty(Conflict):
    """A backup is only restored into an empty installation."""

    code = "not_empty"


@dataclass(frozen=True)
class Restoring:
    """What is restored where."""

    settings: Settings
    source: Source
    revoke_tokens: bool = False


@told_when_full()
def restore(wanted: Restoring, progress: Progress) -> dict[str, Any]:
    """Returns the manifest. Raises BadBackup, NotEmpty, DatabaseTooNew, BadSettings, StorageFull, StorageAway."""
    settings, manifest = wanted.settings, wanted.source.manifest
    if not migrations.knows(manifest["revision"]):
        raise DatabaseTooNew("The backup was made by a newer Atelier; install that version.")
    files = verify(wanted.source, progress)
    data_folder.make(settings.data)
    with data_folder.locked(settings.data):
        if settings.database.startswith("sqlite"):
            data_folder.refuse_network_file_system(settings.data)
        storage = open_storage(settings)
        storage.check()
        _refuse_unless_empty(settings, storage, files)
        _put_files(wanted, storage, files, progress)
        _put_rows(wanted)
        migrations.upgrade(settings.database)
    return manifest


def _refuse_unless_empty(settings: Settings, storage: Storage, files: list[Row]) -> None:
    """Files that are in the backup may be there: of a restore that broke off."""
    _refuse_rows(settings.database)
    known = {one["key"] for one in files if one["place"] == "storage"}
    for prefix in PREFIXES:
        for stored in storage.keys(prefix):
            # perhaps half-written, when an earlier restore ended
            if whole_key(stored.key) not in known:
                raise NotEmpty(f"The storage holds files already: {stored.key}")
    waiting = {one["key"].split("/")[0] for one in files if one["place"] == "uploads"}
    folder = uploads.uploads_of(settings)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in waiting:
            raise NotEmpty(f"There are uploads already: {path}")


def _refuse_rows(url: str) -> None:
    if migrations.status(url) == "empty":
        return
    db = Database(url, pool_size=1)
    try:
        with db.reading() as session:
            if rows.count_rows(session.connection()):
                raise NotEmpty("The database holds data; a backup needs an empty one.")
    finally:
        db.dispose()


def _put_files(wanted: Restoring, storage: Storage, files: list[Row], progress: Progress) -> None:
    waiting = LocalStorage(uploads.uploads_of(wanted.settings))
    for one in files:
        place = storage if one["place"] == "storage" else waiting
        with wanted.source.open(one["sha256"]) as file:
            sha256, size = place.put_stream(one["key"], chunks_of(file))
        if sha256 != one["sha256"]:
            raise BadBackup(f"A part has changed since it was looked at: {one['sha256']}")
        progress(size)


# ---- rows ----------------------------------------------------------------------------------------------


def _put_rows(wanted: Restoring) -> None:
    """Into the schema that they were taken from; it is brought up to date afterwards."""
    url, manifest = wanted.settings.database, wanted.source.manifest
    _refuse_rows(url)  # again: the files took hours, and what follows drops every table
    if migrations.status(url) != "empty":
        migrations.downgrade(url)
    migrations.upgrade(url, manifest["revision"])
    db = Database(url, pool_size=1)
    try:
        with db.writing() as session:
            _Rows(wanted, session.connection()).put()
    finally:
        db.dispose()


class _Rows:
    def __init__(self, wanted: Restoring, connection: Connection) -> None:
        self._wanted = wanted
        self._connection = connection
        self._at = time.time()
        self._events: list[Row] = []
        self._missing = {(one["table"], one["id"]) for one in wanted.source.manifest["missing"]}
        self._steps = self._steps_left()

    def put(self) -> None:
        tables = {table.name: table for table in rows.tables_of(self._connection)}
        for name, known in self._wanted.source.manifest["tables"].items():
            with self._wanted.source.open(known["sha256"]) as file:
                rows.load(self._connection, tables[name], self._changed(name, rows.lines(file)))
        rows.load(self._connection, tables["job_event"], self._events)

    def _steps_left(self) -> dict[str, int]:
        """Of jobs that lost a checkpoint, the farthest that is still there."""
        known = self._wanted.source.manifest["tables"]["checkpoint"]
        kept: dict[str, int] = {}
        lost: set[str] = set()
        with self._wanted.source.open(known["sha256"]) as file:
            for row in rows.lines(file):
                if ("checkpoint", row["id"]) in self._missing:
                    lost.add(row["job_id"])
                else:
                    kept[row["job_id"]] = max(row["step"], kept.get(row["job_id"], 0))
        return {job_id: kept.get(job_id, 0) for job_id in lost}

    def _changed(self, name: str, found: Iterator[Row]) -> Iterator[Row]:
        for row in found:
            if (name, row.get("id")) in self._missing:
                if name == "checkpoint":
                    continue
                row["deleted_at"] = row["deleted_at"] or self._at
            yield self._as_restored(name, row)

    def _as_restored(self, name: str, row: Row) -> Row:
        if name == "job":
            row, event = restored.job(row, self._at, self._steps.get(row["id"]))
            self._events += [event] if event else []
            return row
        if name == "short_task":
            return restored.short_task(row)
        if name == "outbox":
            return restored.message(row)
        if name == "webhook" and self._wanted.revoke_tokens:
            return row | {"enabled": False}
        if name == "user":
            return restored.user(row)
        if name == "invitation" or (name == "token" and self._wanted.revoke_tokens):
            return restored.revoked(row, self._at)
        return row
