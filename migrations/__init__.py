"""The schema's history: Alembic inside the package, driven by these functions.

`python -m migrations` writes the next migration; `atelier up` and `atelier db upgrade` apply them.
"""

from __future__ import annotations

import sqlite3
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.engine import make_url

from shared.db import AS_UTF8, BUSY_MILLISECONDS
from shared.errors import DatabaseTooNew

HERE = Path(__file__).parent
# Any fixed number: two processes that migrate one PostgreSQL at a time wait for each other here.
ADVISORY_LOCK = 4_702_111_953

FIRST = "0001"

Status = Literal["empty", "older", "current", "newer"]


def status(url: str) -> Status:
    """How the database stands to this version of the code. Changes nothing, makes no file."""
    path = make_url(url).database if url.startswith("sqlite") else None
    if path and path != ":memory:" and not Path(path).exists():
        return "empty"
    with _connection(url, "DEFERRED") as connection:
        return _status(connection)


def knows(revision: str) -> bool:
    """Whether this version of the code can go on from that schema."""
    script = ScriptDirectory.from_config(_config())
    return revision in {known.revision for known in script.walk_revisions()}


def upgrade(url: str, revision: str = "head") -> None:
    """Brings an empty or older database up to date; a newer one raises DatabaseTooNew."""
    with _connection(url) as connection:
        if _status(connection) == "newer":
            raise DatabaseTooNew
        command.upgrade(_config(connection), revision)
        _check_foreign_keys(connection)


def downgrade(url: str, revision: str = "base") -> None:
    with _connection(url) as connection:
        if _status(connection) == "newer":
            raise DatabaseTooNew
        command.downgrade(_config(connection), revision)
        _check_foreign_keys(connection)


def make(message: str, url: str, folder: Path | None = None) -> Path:
    """Writes the next NNNN_what_changed.py: what the metadata has and the database lacks."""
    upgrade(url)
    with _connection(url) as connection:
        config = _config(connection, folder)
        number = _next_number(config)
        config.attributes["first"] = number == FIRST
        made = command.revision(config, message, autogenerate=True, rev_id=number)
    if made is None or isinstance(made, list):
        raise RuntimeError("Alembic wrote no file.")
    path = Path(made.path)
    path.write_text("".join(_without_remarks(path)))
    return path


def _without_remarks(path: Path) -> list[str]:
    lines = path.read_text().splitlines(keepends=True)
    return [line for line in lines if not line.strip().startswith("# ###")]


def _next_number(config: Config) -> str:
    head = ScriptDirectory.from_config(config).get_current_head()
    return f"{int(head or 0) + 1:04}"


def _config(connection: Connection | None = None, folder: Path | None = None) -> Config:
    config = Config(cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    versions = str(folder or HERE / "versions").replace("%", "%%")
    config.set_main_option("version_locations", versions)
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("truncate_slug_length", "60")
    config.attributes["connection"] = connection
    return config


def _status(connection: Connection) -> Status:
    script = ScriptDirectory.from_config(_config())
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return "empty"
    if found == script.get_current_head():
        return "current"
    return "older" if knows(found) else "newer"


@contextmanager
def _connection(url: str, mode: str = "IMMEDIATE") -> Iterator[Connection]:
    """One transaction on its own connection; who comes second waits, then finds the work done."""
    engine = _engine(url, mode)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql" and mode == "IMMEDIATE":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
            yield connection
    finally:
        engine.dispose()


def _engine(url: str, mode: str) -> Engine:
    if not url.startswith("sqlite"):
        arguments = {"connect_timeout": 5} | AS_UTF8
        return create_engine(url, poolclass=NullPool, connect_args=arguments)
    engine = create_engine(
        url, poolclass=NullPool, connect_args={"timeout": BUSY_MILLISECONDS / 1000}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(f"BEGIN {mode}"))
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    # Off, unlike shared.db: batch mode drops and makes tables that others refer to.
    connection.execute("PRAGMA foreign_keys=OFF").close()
    connection.execute("PRAGMA synchronous=FULL").close()
    _switch_to_wal(connection)


def _switch_to_wal(connection: Any) -> None:
    """Only the first switch writes; SQLite does not wait by itself for somebody else's."""
    deadline = time.monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken:
        raise RuntimeError(f"This migration leaves rows without their parent: {broken}")
