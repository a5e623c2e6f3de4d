"""Rows to lines of JSON and back, by the tables as they stand in the database: any schema, either database."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import JSON, Connection, MetaData, Table, func, select, text

from shared.db import Database

# Of this installation's machines and of the moment: workers, browsers that are signed in, files half sent.
LEFT_OUT = frozenset({"alembic_version", "worker", "session", "upload"})
ROWS_AT_ONCE = 500

Row = dict[str, Any]


def tables_of(connection: Connection) -> list[Table]:
    """All tables, those that others refer to first."""
    metadata = MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # indexes over expressions cannot be read; rows do not need them
        metadata.reflect(connection)
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True
    return [table for table in metadata.sorted_tables if table.name not in LEFT_OUT]


@contextmanager
def snapshot(db: Database) -> Iterator[Connection]:
    """What this connection reads is one moment, however long it takes; nobody waits for it."""
    if db.is_sqlite:
        with db.reading() as session:
            yield session.connection()
        return
    with db.engine.connect() as plain:
        options: dict[str, Any] = {
            "isolation_level": "REPEATABLE READ",
            "postgresql_readonly": True,
        }
        connection = plain.execution_options(**options)
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield connection
        connection.rollback()


def dump(connection: Connection, table: Table, path: Path) -> int:
    """Writes every row as a line; returns how many."""
    query = select(table).order_by(*table.primary_key.columns)
    found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
    count = 0
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        for row in found.mappings():
            file.write(json.dumps(dict(row), ensure_ascii=False, separators=(",", ":")).encode())
            file.write(b"\n")
            count += 1
    return count


def lines(file: BinaryIO) -> Iterator[Row]:
    with gzip.GzipFile(fileobj=file) as unpacked:
        for line in unpacked:
            yield json.loads(line)


def load(connection: Connection, table: Table, rows: Iterable[Row]) -> int:
    """Inserts rows; what refers to another row of the same table is written when all are there."""
    own = [key.parent.name for key in table.foreign_keys if key.column.table is table]
    later: list[Row] = []
    count = 0
    for some in _batches(_without(rows, own, later)):
        connection.execute(table.insert(), some)
        count += len(some)
    for row in later:
        values = {name: row[name] for name in own}
        connection.execute(table.update().where(table.c.id == row["id"]).values(values))
    return count


def _without(rows: Iterable[Row], own: list[str], later: list[Row]) -> Iterator[Row]:
    for row in rows:
        if any(row[name] is not None for name in own):
            later.append({"id": row["id"], **{name: row[name] for name in own}})
        yield row | dict.fromkeys(own)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) == ROWS_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def count_rows(connection: Connection) -> int:
    """Over all tables that a backup holds."""
    each: Callable[[Table], int] = lambda table: int(  # noqa: E731
        connection.scalar(select(func.count()).select_from(table)) or 0
    )
    return sum(map(each, tables_of(connection)))
