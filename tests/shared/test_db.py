"""Sessions and the clock."""

from __future__ import annotations

import sqlite3
import time

import pytest
from sqlalchemy import create_engine, literal_column, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from shared import db as module
from shared.db import BUSY_MILLISECONDS, SERVER_AWAY, SOON, Database, cause, clock, is_away
from shared.errors import Unavailable
from shared.ids import new_id
from shared.models import FamilyRow, User


def test_the_clock_is_the_time_with_fractions(db):
    with db.reading() as session:
        first = clock(session)
    assert abs(first - time.time()) < 5
    with db.reading() as session:
        assert clock(session) >= first
    db.check_clock()


def test_a_clock_that_is_null_stops_the_start(db, monkeypatch):
    monkeypatch.setattr(module, "NOW", literal_column("NULL"))
    with pytest.raises(Unavailable):
        db.check_clock()


def test_a_reading_session_keeps_nothing(db):
    with pytest.raises(DBAPIError) if db.is_sqlite else nothing():
        with db.reading() as session:
            session.add(User(id="u", name="u", created_at=1.0))
            session.flush()
    with db.reading() as session:
        assert session.scalars(select(User)).all() == []


class nothing:
    def __enter__(self): ...

    def __exit__(self, *error): ...


def test_a_writing_session_that_raises_keeps_nothing(db):
    with pytest.raises(RuntimeError), db.writing() as session:
        session.add(User(id="u", name="u", created_at=1.0))
        session.flush()
        raise RuntimeError
    with db.reading() as session:
        assert session.get(User, "u") is None


def test_ids_are_opaque_and_sort_by_time():
    first = new_id()
    time.sleep(0.002)
    assert first < new_id()
    assert len({new_id() for _ in range(1000)}) == 1000


def test_an_error_of_the_database_does_not_repeat_what_was_stored(db):
    """Its text goes to the log."""
    with pytest.raises(DBAPIError) as raised, db.writing() as session:
        for _ in range(2):
            session.add(User(id=new_id(), name="twice", password_hash="canary", created_at=1.0))
            session.flush()
    assert "canary" not in str(raised.value)


def test_nobody_waits_for_long_for_a_lock_that_somebody_keeps(postgres_url, monkeypatch):
    monkeypatch.setitem(SERVER_AWAY, "options", SERVER_AWAY["options"].replace("10s", "100ms"))
    impatient = Database(postgres_url)
    with impatient.reading() as session:
        assert session.scalar(text("SHOW lock_timeout")) == "100ms"
    holder = create_engine(postgres_url)
    with holder.begin() as connection:
        connection.execute(text('ALTER TABLE "user" ADD COLUMN later INTEGER'))
        with pytest.raises(OperationalError) as caught, impatient.writing() as session:
            session.execute(text('SELECT 1 FROM "user"'))
    assert is_away(caught.value)
    holder.dispose()
    impatient.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_wrong_sql_is_no_database_that_is_away(db):
    with pytest.raises(OperationalError) as caught, db.reading() as session:
        session.execute(text("SELECT nothing"))
    assert not is_away(caught.value)
    assert cause(caught.value) == 'near "nothing": syntax error'


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_json_is_kept_in_letters_and_half_a_character_as_an_escape(db):
    written = {"poet": "李白", "half": "\ud800"}
    with db.writing() as session:
        session.add(FamilyRow(name="poet", version=1, announcement=written, announced_at=1.0))
        session.add(
            FamilyRow(name="whole", version=1, announcement={"poet": "李白"}, announced_at=1.0)
        )
    with db.reading() as session:
        assert session.get(FamilyRow, ("poet", 1)).announcement == written
        raw = session.scalars(text("SELECT announcement FROM family ORDER BY name")).all()
    assert "李白" in raw[1] and "ud800" in raw[0]


def test_a_lock_that_is_free_again_is_taken_at_the_next_look(sqlite_url, monkeypatch):
    """SQLite's own sleeps grow to a tenth of a second, in which others come and go."""
    db = Database(sqlite_url)
    db.check_clock()
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 5:
            other.execute("ROLLBACK")

    monkeypatch.setattr("shared.db.time.sleep", sleep)
    with db.writing() as session:
        session.execute(text("CREATE TABLE found (n INTEGER)"))
    assert looks == [SOON] * 5
    with db.reading() as session:
        assert session.scalar(text("PRAGMA busy_timeout")) == BUSY_MILLISECONDS
    db.dispose()
    other.close()
