"""The queue summed up in SQL: the statements that shared/waiting.py rests on. They are put together once, at import:
that takes as long as asking them, and they are asked at every submit and every look at a queued job.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Double,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import aliased

from shared.models import Job, User, UserShare
from shared.shares import PREPAID_SECONDS

SECONDS = func.coalesce(Job.estimate_seconds, PREPAID_SECONDS)
UNKNOWN = case((Job.estimate_seconds.is_(None), 1), else_=0)
SUMS = (
    func.count().label("jobs"),
    func.coalesce(func.sum(SECONDS), 0.0).label("seconds"),
    func.coalesce(func.sum(UNKNOWN), 0).label("unknown"),
)


def _in_line() -> ColumnElement[bool]:
    """What can be claimed some time without anybody doing anything: others hold nobody up."""
    parent = aliased(Job)
    parent_succeeded = (
        select(parent.id)
        .where(parent.id == Job.waits_for, parent.state == "succeeded")
        .correlate(Job)
        .exists()
    )
    offered: BindParameter[Any] = bindparam("offered", expanding=True)
    return and_(
        Job.state == "queued",
        Job.lane == bindparam("lane"),
        Job.paused_at.is_(None),
        or_(Job.waits_for.is_(None), parent_succeeded),
        or_(
            bindparam("anything", type_=Boolean()),
            tuple_(Job.family, Job.family_version).in_(offered),
        ),
    )


def _by_user() -> Select[Any]:
    held = select(Job.user_id, *SUMS).where(_in_line()).group_by(Job.user_id).subquery()
    return (
        select(held, UserShare.vtime, UserShare.weight)
        .join(UserShare, UserShare.user_id == held.c.user_id)
        .join(User, User.id == held.c.user_id)
        .where(User.active)
    )


def _earlier() -> Select[Any]:
    order = Job.rank, Job.id
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    counts = case((_in_line(), 1), else_=0)  # a paused job gets no turn, so it is before nobody
    own = (
        select(
            Job.id,
            Job.estimate_seconds.label("mine"),
            counts.label("counts"),
            func.sum(counts).over(order_by=order).label("jobs"),
            func.sum(counts * SECONDS).over(order_by=order).label("seconds"),
            func.sum(counts * UNKNOWN).over(order_by=order).label("unknown"),
        )
        .where(Job.user_id == bindparam("user_id"), or_(_in_line(), Job.id.in_(ids)))
        .subquery()
    )
    return select(own).where(own.c.id.in_(ids))


BY_USER = _by_user()
EARLIER = _earlier()
# for one job alone: sums cost a fraction of what windows do
LATER = select(*SUMS).where(
    _in_line(),
    Job.user_id == bindparam("user_id"),
    tuple_(Job.rank, Job.id)
    >= tuple_(bindparam("rank", type_=Double()), bindparam("id", type_=String())),
)
RUNNING = select(
    Job.owner,
    Job.kind,
    Job.attempt,
    Job.started_at,
    Job.device_seconds,
    Job.estimate_seconds,
    Job.progress_step,
    Job.progress_total,
    Job.continues_step,
).where(Job.state == "running")
