"""Where a soak may work: a folder, a database and a Redis that hold nothing but what an earlier soak left there."""

from __future__ import annotations

import json
from pathlib import Path

import redis
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from shared.config import Settings
from shared.db import AS_UTF8, Database, cause
from shared.errors import BadSettings
from shared.models import User
from shared.queue import redis_client

MARKER = "chaos.json"
PREFIX = "atelier-chaos:"  # of every key in Redis: an installation that people use has another
USER = "chaos-{}"
FIRST_ADMIN = "admin"  # `atelier up` makes it; nobody can sign in as long as it has no password


def claim(settings: Settings) -> None:
    """Marks the folder and the database as ours; raises BadSettings where anything else is in them."""
    if settings.storage:
        raise BadSettings("a soak keeps its results in its own folder: it removes what is there.")
    folder = settings.data
    ours = _marked(folder)
    if ours is None and folder.exists() and any(folder.iterdir()):
        raise BadSettings(f"--data: {folder} holds something that no soak has made.")
    if settings.database_url:
        _refuse_database(settings, ours)
    elif ours is not None and (folder / "atelier.db").exists():
        _refuse_people(settings)
    if settings.redis_url:
        _refuse_redis(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = {*(ours or ()), _name(settings)}
    (folder / MARKER).write_text(json.dumps({"databases": sorted(names)}))


def _marked(folder: Path) -> list[str] | None:
    """The databases that earlier soaks in this folder found empty; None where there was none."""
    try:
        found = json.loads((folder / MARKER).read_text())["databases"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadSettings(f"--data: {folder / MARKER} cannot be read.") from error
    return [str(name) for name in found]


def _name(settings: Settings) -> str:
    """The database without its password."""
    return settings.database.rpartition("@")[2]


def _refuse_database(settings: Settings, ours: list[str] | None) -> None:
    arguments = {} if settings.database.startswith("sqlite") else AS_UTF8
    engine = create_engine(settings.database, connect_args=arguments)
    try:
        tables = inspect(engine).get_table_names()
    except (SQLAlchemyError, ImportError) as error:
        text = cause(error) if isinstance(error, SQLAlchemyError) else str(error)
        raise BadSettings(f"--database-url: it cannot be read: {text}") from error
    finally:
        engine.dispose()
    if not tables:
        return
    if _name(settings) not in (ours or ()):
        raise BadSettings("--database-url: it holds tables that no soak in this folder has made.")
    _refuse_people(settings)


def _refuse_people(settings: Settings) -> None:
    """People have moved in since: what was scratch is so no longer."""
    db = Database(settings.database, pool_size=1)
    try:
        with db.reading() as session:
            users = session.scalars(select(User)).all()
    except SQLAlchemyError:
        return  # the tables are not made yet
    finally:
        db.dispose()
    known = USER.format("")
    strange = [
        user.name
        for user in users
        if not user.name.startswith(known) and (user.name != FIRST_ADMIN or user.password_hash)
    ]
    if strange:
        raise BadSettings(f"the database holds accounts that no soak has made: {strange[0]}")


def _refuse_redis(settings: Settings) -> None:
    """FLUSHALL takes everything, whatever its prefix."""
    try:
        with redis_client(settings) as client:
            spaces = client.info("keyspace")
            strange = [
                key for key in client.scan_iter(count=1000) if not key.startswith(PREFIX.encode())
            ]
    except redis.RedisError as error:
        raise BadSettings(f"--redis-url: {error}") from error
    others = [name for name in spaces if name != f"db{_number(settings)}"]
    if strange or others:
        raise BadSettings("--redis-url: it holds keys that no soak has made; all would be lost.")


def _number(settings: Settings) -> int:
    with redis_client(settings) as client:
        return int(client.connection_pool.connection_kwargs.get("db") or 0)
