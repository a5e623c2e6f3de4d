"""Fair shares between users: start-time fair queuing in device-seconds.

`vtime` is what a user has had, in device-seconds divided by weight; the smallest goes first. A claim prepays a
little, use is charged at each heartbeat beyond what was prepaid, and the end settles (Goyal et al. 1996).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Double, Table, bindparam, event, func, insert, or_, select, update
from sqlalchemy.orm import Session, SessionTransaction

from shared import tallies
from shared.models import Job, UserShare

PREPAID_SECONDS = 30.0

# put together once: while a claim or an end is written, SQLite lets nobody else write
PAY = (
    update(cast(Table, UserShare.__table__))
    .where(UserShare.user_id == bindparam("payer"))
    .values(
        vtime=UserShare.vtime + bindparam("owed", type_=Double()) / UserShare.weight,
        device_seconds=UserShare.device_seconds + bindparam("used", type_=Double()),
    )
)

Bills = dict[str, tuple[float, float]]  # user id -> (owed, used)
PENDING = "atelier_bills"


def prepaid(estimate_seconds: float | None) -> float:
    """What a claim charges before anything was used: charging a whole training at its claim would put its
    owner's own generations behind everyone for hours."""
    return min(PREPAID_SECONDS if estimate_seconds is None else estimate_seconds, PREPAID_SECONDS)


def charge(session: Session, user_id: str, owed: float, used: float = 0.0) -> None:
    """Notes device-seconds for a user; the shares are written once, at the commit.

    Last and in the order of user ids: a transaction that waits for a share holds all its job rows already, and two
    transactions take shares in the same order, so they cannot deadlock.
    """
    bills: Bills = session.info.setdefault(PENDING, {})
    before = bills.get(user_id, (0.0, 0.0))
    bills[user_id] = (before[0] + owed, before[1] + used)


@event.listens_for(Session, "before_commit")
def _pay(session: Session) -> None:
    if session.in_nested_transaction():
        return  # SQLAlchemy tells of a savepoint's end as well
    bills = sorted(session.info.pop(PENDING, {}).items())
    rows = [{"payer": user_id, "owed": owed, "used": used} for user_id, (owed, used) in bills]
    if rows:
        session.connection().execute(PAY, rows)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, ended: SessionTransaction) -> None:
    if not ended.nested:
        session.info.pop(PENDING, None)


@contextmanager
def apart(session: Session) -> Iterator[None]:
    """A savepoint: what raises in it is undone, charges and tallies included, and nothing that was before it."""
    before, counted = dict(session.info.get(PENDING, {})), tallies.pending(session)
    try:
        with session.begin_nested():
            yield
    except BaseException:
        session.info[PENDING] = before
        tallies.go_back(session, counted)
        raise


def busy() -> Any:
    """A user with something queued or running."""
    return (
        select(Job.id)
        .where(Job.user_id == UserShare.user_id, or_(Job.state == "queued", Job.state == "running"))
        .exists()
    )


IS_BUSY = select(busy()).where(UserShare.user_id == bindparam("user_id")).select_from(UserShare)
# Where who comes back from idle begins.
FLOOR = select(func.min(UserShare.vtime)).where(busy())
LIFT = (
    update(UserShare)
    .where(UserShare.user_id == bindparam("user"), UserShare.vtime < bindparam("floor"))
    .values(vtime=bindparam("floor", type_=Double()))
    .execution_options(synchronize_session=False)
)


def catch_up(session: Session, user_id: str) -> None:
    """A user who returns from idle starts level with the busy ones: idle time saves up no claim on the device."""
    is_busy = session.scalar(IS_BUSY, {"user_id": user_id})
    if is_busy:
        return
    if is_busy is None:  # no share yet
        session.execute(
            insert(UserShare).values(user_id=user_id, vtime=0.0, weight=1.0, device_seconds=0.0)
        )
    floor = session.scalar(FLOOR)
    if floor is not None:
        session.execute(LIFT, {"user": user_id, "floor": floor})
