"""Tallies add up whoever counts at the same time, and a transaction that fails has counted nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import shares, tallies
from shared.models import Tally


def value(db, name, label=""):
    with db.reading() as session:
        row = session.get(Tally, (name, label))
        return row.value if row else 0.0


def test_everybodys_counts_add_up(db):
    def add(n):
        with db.writing() as session:
            for name in ("b", "a") if n % 2 else ("a", "b"):
                tallies.count(session, name, by=2)
            tallies.count(session, "a")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(20)))
    assert (value(db, "a"), value(db, "b")) == (60, 40)


def test_a_transaction_that_fails_counts_nothing(db):
    with pytest.raises(RuntimeError), db.writing() as session:
        tallies.count(session, "a")
        raise RuntimeError
    assert value(db, "a") == 0


def test_a_measure_is_replaced(db):
    for measure in (0.5, 0.25):
        with db.writing() as session:
            tallies.put(session, "busy", "w", measure)
    assert value(db, "busy", "w") == 0.25


def test_a_savepoint_that_is_undone_takes_its_counts_with_it(db):
    with db.writing() as session:
        tallies.count(session, "a")
        with pytest.raises(RuntimeError), shares.apart(session):
            tallies.count(session, "a")
            raise RuntimeError
    assert value(db, "a") == 1


def test_durations_fall_into_buckets_and_add_up(db):
    for seconds in (0.1, 0.2, 100_000.0):
        with db.writing() as session:
            tallies.time(session, "t", "train", seconds)
    assert [value(db, "t", f"train|{bucket}") for bucket in ("0.1", "0.5", "1.0", "+Inf")] == [
        *(1, 1, 0, 1)
    ]
    assert value(db, "t", "train|sum") == pytest.approx(100_000.3)
