"""What a user may hold and holds: jobs, storage, device time. Counted when it is asked for, never kept, so it cannot
drift. A quota's own value goes before the installation's default; it is literal, so 0 means nothing at all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.config import Settings
from shared.db import clock, lock_rows
from shared.errors import QuotaExceeded
from shared.job_records import NewJob
from shared.models import Artifact, Checkpoint, Dataset, Job, Model, Quota, Upload

DAY = 86_400.0
# what a job whose family names no cost keeps reserved until it has ended
UNKNOWN_SECONDS = 30.0

UserColumn = InstrumentedAttribute[str]
SizeColumn = InstrumentedAttribute[int]
Users = Collection[str]  # ids
Sums = defaultdict[str, float]  # of each user


@dataclass(frozen=True)
class Limits:
    """What one user may hold; None is no limit."""

    max_queued_jobs: int
    max_running_jobs: int | None
    max_storage_bytes: int
    max_device_seconds_a_day: float | None


def limits_of(session: Session, settings: Settings, user_id: str) -> Limits:
    return limits(session.get(Quota, user_id), settings)


def limits(own: Quota | None, settings: Settings) -> Limits:
    """What was set for a user, the installation's defaults where nothing was."""
    own = own or Quota()
    return Limits(
        _either(own.max_queued_jobs, settings.max_queued_jobs),
        _either(own.max_running_jobs, settings.max_running_jobs or None),
        _either(own.max_storage_bytes, settings.max_storage_bytes),
        _either(own.max_device_seconds_a_day, settings.max_device_seconds_a_day or None),
    )


def _either(own: Any, default: Any) -> Any:
    return default if own is None else own


def _refuse(message: str, name: str, used: float, allowed: float, **more: Any) -> NoReturn:
    facts = {"name": name, "used": used, "allowed": allowed, **more}
    raise QuotaExceeded(message, quota=facts)


# Said so that ix_job_claim answers it: of a user with a long history, no other row is read.
QUEUED = select(func.count()).where(
    Job.user_id == bindparam("user_id"),
    Job.state == literal("queued", literal_execute=True),
    Job.lane > "",
)
# Of everybody only a few run; SQLite would rather read all that this user ever had, were there an index on `user_id`.
RUNNING = select(func.count()).where(
    Job.state == literal("running", literal_execute=True),
    Job.user_id.concat("") == bindparam("user_id"),
)


# Held until the transaction ends. SQLite has no such words as FOR UPDATE, and leaves them out.
OWN = select(Quota).where(Quota.user_id == bindparam("user_id")).with_for_update()


# ---- at a submit ---------------------------------------------------------------------------------


def check_submit(session: Session, new: NewJob) -> None:
    """Holds the user's quota row, so that of many submits at once only as many pass as there is room for.

    Raises QuotaExceeded.
    """
    own = session.scalar(OWN, {"user_id": new.user_id}) or Quota()
    most = _either(own.max_queued_jobs, new.max_queued_jobs)
    queued = session.scalar(QUEUED, {"user_id": new.user_id})
    if (queued or 0) >= most:
        text = f"You have {queued} queued jobs already; {most} are allowed. The next start or cancel frees a place."
        _refuse(text, "queued_jobs", queued or 0, most)
    seconds = _either(own.max_device_seconds_a_day, new.max_device_seconds_a_day or None)
    if seconds is not None:
        _check_day(session, new, seconds)


def _check_day(session: Session, new: NewJob, most: float) -> None:
    at = clock(session)
    used, reserved = used_today(session, new.user_id, at), reserved_seconds(session, new.user_id)
    needed = UNKNOWN_SECONDS if new.estimate_seconds is None else new.estimate_seconds
    over = used + reserved + needed - most
    if over <= 0:
        return
    frees_at = None
    if needed > most:
        hope = "so it cannot run under this quota"
    elif reserved + needed > most:
        hope = "and room comes when your queued and running jobs end"
    else:
        frees_at = _moment(_frees_at(session, new.user_id, at, over) + DAY)
        hope = f"and there is room at {frees_at}"
    text = (
        f"This job needs about {needed:,.0f} device-seconds; of the {most:,.0f} that you may use in 24 hours "
        f"{used:,.0f} are used and {reserved:,.0f} reserved by your queued and running jobs, {hope}."
    )
    facts = {"reserved": round(reserved, 3), "needed": round(needed, 3), "frees_at": frees_at}
    _refuse(text, "device_seconds_a_day", round(used, 3), most, **facts)


def _moment(at: float) -> str:
    """RFC 3339, rounded up: at that moment there is room."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at + 1))


# ---- device time of a day ---------------------------------------------------------------------------


def used_today(session: Session, user_id: str, at: float) -> float:
    """Device-seconds of the jobs that ended within 24 hours."""
    return used_today_by(session, [user_id], at)[user_id]


def used_today_by(session: Session, user_ids: Users, at: float) -> Sums:
    ended = and_(Job.user_id.in_(user_ids), Job.finished_at > at - DAY)
    return _sums(session, select(Job.user_id, func.sum(used_within_a_day(at))).where(ended))


def reserved_seconds(session: Session, user_id: str) -> float:
    """What queued and running jobs may still need: their estimate, or what they have used when that is more."""
    return reserved_by(session, [user_id])[user_id]


def reserved_by(session: Session, user_ids: Users) -> Sums:
    estimate = func.coalesce(Job.estimate_seconds, UNKNOWN_SECONDS)
    held = case((Job.device_seconds > estimate, Job.device_seconds), else_=estimate)
    total: Sums = defaultdict(float)
    for state in ("queued", "running"):
        query = select(Job.user_id, func.sum(held))
        query = query.where(Job.user_id.in_(user_ids), Job.state == state)
        for user_id, seconds in _sums(session, query).items():
            total[user_id] += seconds
    return total


def _sums(session: Session, query: Select[str, Any]) -> Sums:
    """Of each user a sum; 0 of those who have no rows."""
    rows = session.execute(query.group_by(query.selected_columns[0]))
    return defaultdict(float, {user_id: float(total or 0) for user_id, total in rows})


def _ended_within(user_id: str, at: float) -> ColumnElement[bool]:
    return and_(Job.user_id == user_id, Job.finished_at > at - DAY)


def used_within_a_day(at: float) -> ColumnElement[float]:
    """Of a job that began before the day, no more than fits into the part of it that it ran in."""
    began = case((Job.started_at > at - DAY, Job.started_at), else_=at - DAY)
    span = func.coalesce(Job.finished_at, at) - began
    return case((Job.device_seconds < span, Job.device_seconds), else_=span)


def _frees_at(session: Session, user_id: str, at: float, over: float) -> float:
    """When the last of those jobs ended whose use must leave the day before there is room."""
    freed = func.sum(used_within_a_day(at)).over(order_by=(Job.finished_at, Job.id)).label("freed")
    ended = select(Job.finished_at.label("at"), freed).where(_ended_within(user_id, at)).subquery()
    # a hair less: sums of the same numbers in another order differ in the last bit
    last = select(func.min(ended.c.at)).where(ended.c.freed >= over - 1e-6)
    return float(session.scalar(last) or at)


# ---- running jobs, as the claim asks ---------------------------------------------------------------


def running_cap(user: UserColumn, default: int) -> ColumnElement[int | None]:
    """Most running jobs of the user of this row, as SQL; NULL is no limit."""
    own = func.coalesce(
        Quota.max_running_jobs, literal(default or None, Quota.max_running_jobs.type)
    )
    return select(own).where(Quota.user_id == user).correlate_except(Quota).scalar_subquery()


def has_place(user: UserColumn, default: int) -> ColumnElement[bool]:
    running = (
        select(func.count())
        .where(Job.user_id == user, Job.state == "running")
        .correlate_except(Job)
        .scalar_subquery()
    )
    cap = running_cap(user, default)
    return or_(cap.is_(None), running < cap)


def hold_place(session: Session, user_id: str, cap: int) -> bool:
    """Whether one more job of this user may run now; held until this transaction ends, so that two workers
    do not both give the last place. False also while somebody else holds it: the next claim looks again."""
    if lock_rows(session):
        row = select(Quota.user_id).where(Quota.user_id == user_id)
        if session.scalar(row.with_for_update(skip_locked=True)) is None:
            return False
    return running_jobs(session, user_id) < cap


def running_jobs(session: Session, user_id: str) -> int:
    return session.scalar(RUNNING, {"user_id": user_id}) or 0


def active_jobs(session: Session, user_id: str) -> int:
    """Queued and running ones."""
    queued = session.scalar(QUEUED, {"user_id": user_id}) or 0
    return queued + running_jobs(session, user_id)


def waiting_words(session: Session, settings: Settings, user_id: str) -> str | None:
    """Why no queued job of this user starts, when that is the reason."""
    cap = limits_of(session, settings, user_id).max_running_jobs
    if cap is None or (running := running_jobs(session, user_id)) < cap:
        return None
    jobs = "1 job of yours runs" if running == 1 else f"{running} jobs of yours run"
    return f"waiting: {jobs}, and {cap} may"


# ---- storage ---------------------------------------------------------------------------------------


def storage_used(session: Session, user_id: str) -> int:
    """Bytes of everything the user has not deleted; uploads count from their first moment."""
    return int(storage_used_by(session, [user_id])[user_id])


def storage_used_by(session: Session, user_ids: Users) -> Sums:
    """The same of many at once."""
    rows = session.execute(STORAGE_USED, {"user_ids": list(user_ids)})
    return defaultdict(float, {user_id: float(held) for user_id, held in rows})


def _storage_used() -> Select[str, Any]:
    """One statement, put together once."""
    users: BindParameter[Any] = bindparam("user_ids", expanding=True)

    def held(user: UserColumn, size: SizeColumn, *conditions: Any) -> Select[str, Any]:
        total = func.sum(size).label("bytes")
        return select(user, total).where(user.in_(users), *conditions).group_by(user)

    parts = [held(t.user_id, t.bytes, t.deleted_at.is_(None)) for t in (Artifact, Dataset, Model)]
    # from the checkpoints, which are few, to their jobs: SQLite would look for one of each job that there ever was
    parts.append(held(Job.user_id, Checkpoint.bytes, Job.id == Checkpoint.job_id.concat("")))
    # what is still being received was promised its whole length
    parts.append(held(Upload.user_id, Upload.length))
    every = union_all(*parts).subquery()
    return select(every.c.user_id, func.sum(every.c.bytes)).group_by(every.c.user_id)


STORAGE_USED = _storage_used()


def storage_limit(session: Session, settings: Settings, user_id: str) -> int:
    return limits_of(session, settings, user_id).max_storage_bytes


def storage_left(session: Session, settings: Settings, user_id: str) -> int:
    limit = storage_limit(session, settings, user_id)
    return max(0, limit - storage_used(session, user_id))


def check_storage(session: Session, settings: Settings, user_id: str, more: int = 0) -> int:
    """The bytes that are left. Raises QuotaExceeded when the user holds as much as he may, or `more` would not fit."""
    used, allowed = storage_used(session, user_id), storage_limit(session, settings, user_id)
    if used >= allowed or used + more > allowed:
        refuse_storage(used, allowed, more)
    return allowed - used


def refuse_storage(used: int, allowed: int, more: int = 0) -> NoReturn:
    text = f"You hold {used:,} bytes of the {allowed:,} that are allowed"
    text += f", and this has {more:,}" if more else ""
    _refuse(
        f"{text}. Deleting datasets, models or results frees room.", "storage_bytes", used, allowed
    )
