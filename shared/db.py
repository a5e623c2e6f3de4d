"""The engine, three kinds of session, and the database's own clock.

`reading()` is deferred and cannot write; `writing()` takes SQLite's write lock at once (BEGIN IMMEDIATE), so that a
transaction never fails half-way with "database is locked"; `glancing()` has no transaction around its one statement.
None is open while we wait or stream.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Engine,
    MetaData,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.sql.functions import FunctionElement

from shared.errors import Unavailable

BUSY_MILLISECONDS = 5000
# Seconds between two looks at SQLite's write lock; it is held for some milliseconds, by who is stopped for long.
SOON, LATER, LONG = 0.001, 0.01, 0.2
NONE = "NONE"  # no BEGIN: each statement is a transaction of its own
# Without it, a PostgreSQL database that was made in the C locale (SQL_ASCII) gives bytes for text.
AS_UTF8 = {"client_encoding": "utf8"}
# A server that vanished without a word is noticed in seconds, not in TCP's hours.
SERVER_AWAY = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    # a process that was stopped in a transaction must not keep its rows from everybody else; and nobody waits for long
    # for somebody's open transaction or ALTER TABLE: that is as if the server was away (migrations have no such limit)
    "options": "-c idle_in_transaction_session_timeout=15000 -c lock_timeout=10s",
}

metadata = MetaData(
    # Alembic's batch mode on SQLite can only drop what has a name.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character can be said as an escape alone
        return json.dumps(value)
    return text


class Base(DeclarativeBase):
    metadata = metadata


class Database:
    """One engine for one process. Made after a fork, never before."""

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self._writer = threading.Lock()
        # an error's text goes to the log, where prompts and hashes of secrets have no place
        options: dict[str, Any] = {
            "pool_size": pool_size,
            "max_overflow": 20,
            "hide_parameters": True,
            # letters as they are: a PostgreSQL that is not in UTF-8 refuses JSON's escapes of them
            "json_serializer": _json,
        }
        if self.is_sqlite:
            options["connect_args"] = {
                "timeout": BUSY_MILLISECONDS / 1000,
                "check_same_thread": False,
            }
        else:
            options["pool_pre_ping"] = True
            options["connect_args"] = SERVER_AWAY | AS_UTF8
        self.engine: Engine = create_engine(url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        alone = {"atelier_mode": NONE} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._glances = self.engine.execution_options(**alone)

    @contextmanager
    def glancing(self) -> Iterator[Session]:
        """For what every request asks: one SELECT, and no BEGIN and ROLLBACK that cost as much again."""
        with Session(self._glances, autoflush=False, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self.engine, autoflush=False, expire_on_commit=False) as session:
            session.connection(execution_options={"atelier_mode": "DEFERRED"})
            yield session  # closing rolls back, and leaves the rows it read usable

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Commits at the end of the block, rolls back when the block raises."""
        with self._turn(), Session(self.engine, expire_on_commit=False) as session:
            session.connection(execution_options={"atelier_mode": "IMMEDIATE"})
            yield session
            session.commit()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Threads of one process queue up for SQLite's write lock here: its own waiting is by sleeps."""
        mine = self.is_sqlite and self._writer.acquire(timeout=BUSY_MILLISECONDS / 1000)
        try:
            yield
        finally:
            if mine:
                self._writer.release()

    def change_mark(self) -> ChangeMark | None:
        """A cheap way to see that nothing was committed since the last look; None where there is none."""
        return ChangeMark(self.engine) if self.is_sqlite else None

    def check_clock(self) -> None:
        """Refuses a database whose clock expression is NULL (it would make every lease endless)."""
        with self.reading() as session:
            value = session.scalar(select(NOW))
        if not isinstance(value, float) or value < 1.6e9:
            raise Unavailable("The database's clock cannot be read.")

    def encoding(self) -> str:
        """UTF8 where every text keeps its characters: SQL_ASCII counts and cuts bytes."""
        if self.is_sqlite:
            return "UTF8"
        with self.reading() as session:
            return str(session.scalar(text("SHOW server_encoding")))

    def dispose(self) -> None:
        self.engine.dispose()


class ChangeMark:
    """SQLite's `data_version` on a connection of its own: it differs after another connection's commit.

    Some microseconds beside the millisecond of a query. For one thread.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: PoolProxiedConnection | None = None

    def read(self) -> int:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
        cursor = self._connection.cursor()
        try:
            cursor.execute("PRAGMA data_version")
            row = cursor.fetchone()
            return int(row[0]) if row else 0
        finally:
            cursor.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # We say BEGIN ourselves: pysqlite's legacy mode begins late and only before writes.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("atelier_mode", "IMMEDIATE")
    if mode == NONE:
        return
    connection.exec_driver_sql(f"PRAGMA query_only={'ON' if mode == 'DEFERRED' else 'OFF'}")
    if mode == "IMMEDIATE":
        _begin_immediate(connection)
    else:
        connection.exec_driver_sql(f"BEGIN {mode}")


def _begin_immediate(connection: Connection) -> None:
    """As soon as SQLite's write lock is free.

    SQLite itself waits by sleeps that grow to 100 ms: between a few busy processes it slept through most of the time
    in which the lock was free (three in five seconds of a web server, at 14 submits a second).
    """
    sqlite: Any = connection.connection.dbapi_connection
    began = time.monotonic()
    sqlite.execute("PRAGMA busy_timeout=0")
    try:
        while (waited := time.monotonic() - began) < BUSY_MILLISECONDS / 1000:
            try:
                sqlite.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            time.sleep(SOON if waited < LONG else LATER)
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # for an error in SQLAlchemy's words
    finally:
        sqlite.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")


class _Now(FunctionElement[float]):
    type = Double()
    inherit_cache = True


@compiles(_Now, "sqlite")
def _now_of_sqlite(*_: Any, **_options: Any) -> str:
    # unixepoch('subsec') is NULL before SQLite 3.42; Debian 12 has 3.40
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Now, "postgresql")
def _now_of_postgresql(*_: Any, **_options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


# Seconds since 1970 by the database's clock, as SQL. Every lease and every time in a row uses it.
NOW = _Now()
CLOCK = select(NOW)


def clock(session: Session) -> float:
    """The same, read now."""
    return float(session.scalar(CLOCK) or 0.0)


def is_disk_full(error: BaseException) -> bool:
    """True when the database has no room for what was to be written."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorname", "") or getattr(error.orig, "sqlstate", "")
    return code in ("SQLITE_FULL", "53100")


def is_away(error: BaseException) -> bool:
    """Whether it is the database's present state, and no fault of what was asked: try again later."""
    if not isinstance(error, DBAPIError):
        return False
    if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_ERROR":
        return False  # pysqlite's OperationalError is wrong SQL, too
    passing = isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated
    return passing or is_disk_full(error)


def cause(error: SQLAlchemyError) -> str:
    """What the database said, in a line; SQLAlchemy's own text may begin with its advice."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    return (said.strip().splitlines() or [type(error).__name__])[0]


def lock_rows(session: Session) -> bool:
    """Whether FOR UPDATE means anything here (SQLite's writing() holds the one lock already)."""
    return session.get_bind().dialect.name != "sqlite"
