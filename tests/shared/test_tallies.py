"""Tallies add up whoever counts at the same time, and a transaction that fails has counted nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import tallies
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
