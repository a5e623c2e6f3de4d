"""Numbers for /metrics that no table holds: counted in the transaction that they are about, in its last statement.

Last, and in the order of their names, so that a row everybody counts in is locked briefly and never crosswise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared.db import lock_rows
from shared.models import Tally

LONGEST_LABEL = 64
# of the histograms of durations, in seconds; a changed list begins new histograms
BOUNDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
BUCKETS = (*(str(float(bound)) for bound in BOUNDS), "+Inf")
_KEY = "atelier_tallies"


def count(session: Session, name: str, label: str = "", by: float = 1.0) -> None:
    """Adds to a number that only grows, when the transaction commits."""
    _pending(session)[(name, label[:LONGEST_LABEL])] += by  # type: ignore[assignment]


def time(session: Session, name: str, label: str, seconds: float) -> None:
    """Adds to a histogram of durations: one count in the bucket that it falls into, and the sum."""
    count(session, name, f"{label}|{BUCKETS[bisect_left(BOUNDS, seconds)]}")
    count(session, name, f"{label}|sum", seconds)


def put(session: Session, name: str, label: str, value: float) -> None:
    """Writes the last measure of something."""
    session.merge(Tally(name=name, label=label[:LONGEST_LABEL], value=value))


def pending(session: Session) -> dict[tuple[str, str], float]:
    """What was counted so far, to `go_back` to when a savepoint is undone."""
    return dict(_pending(session))


def go_back(session: Session, counted: dict[tuple[str, str], float]) -> None:
    found: dict[tuple[str, str], Any] = _pending(session)
    found.clear()
    found.update(counted)


def _pending(session: Session) -> Counter[tuple[str, str]]:
    if _KEY not in session.info:
        session.info[_KEY] = Counter()
        event.listen(session, "before_commit", _write)
    found: Counter[tuple[str, str]] = session.info[_KEY]
    return found


def _add(insert: Any) -> Any:
    new = insert(Tally.__table__)
    return new.on_conflict_do_update(
        index_elements=[Tally.name, Tally.label], set_={"value": Tally.value + new.excluded.value}
    )


# put together once: SQLAlchemy keeps no compiled form of an insert with its values inside
_ADD = {True: _add(postgresql.insert), False: _add(sqlite.insert)}


def _write(session: Session) -> None:
    """All at once, however many there are."""
    pending = _pending(session)
    if not pending or session.in_nested_transaction():
        return  # SQLAlchemy tells of a savepoint's end as well
    rows = [
        {"name": name, "label": label, "value": by} for (name, label), by in sorted(pending.items())
    ]
    session.connection().execute(_ADD[lock_rows(session)], rows)
    pending.clear()
