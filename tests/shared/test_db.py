"""Sessions and the clock."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import literal_column, select
from sqlalchemy.exc import DBAPIError

from shared import db as module
from shared.db import clock
from shared.errors import Unavailable
from shared.ids import new_id
from shared.models import User


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
