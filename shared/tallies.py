"""Numbers for /metrics that no table holds: counted in the transaction that they are about, in its last statement.

Last, and in the order of their names, so that a row everybody counts in is locked briefly and never crosswise.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared.db import lock_rows
from shared.models import Tally

LONGEST_LABEL = 64
_KEY = "atelier_tallies"


def count(session: Session, name: str, label: str = "", by: float = 1.0) -> None:
    """Adds to a number that only grows, when the transaction commits."""
    _pending(session)[(name, label[:LONGEST_LABEL])] += by  # type: ignore[assignment]


def put(session: Session, name: str, label: str, value: float) -> None:
    """Writes the last measure of something."""
    session.merge(Tally(name=name, label=label[:LONGEST_LABEL], value=value))


def _pending(session: Session) -> Counter[tuple[str, str]]:
    if _KEY not in session.info:
        session.info[_KEY] = Counter()
        event.listen(session, "before_commit", _write)
    found: Counter[tuple[str, str]] = session.info[_KEY]
    return found


def _write(session: Session) -> None:
    pending = _pending(session)
    insert: Any = postgresql.insert if lock_rows(session) else sqlite.insert
    for (name, label), by in sorted(pending.items()):
        new = insert(Tally).values(name=name, label=label, value=by)
        session.execute(
            new.on_conflict_do_update(
                index_elements=[Tally.name, Tally.label], set_={"value": Tally.value + by}
            )
        )
    pending.clear()
