"""Why a person waits, in numbers: his part of the device time of a day, and how many jobs of his may run."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, or_, select

from shared import quotas
from shared.db import clock
from shared.models import Job, Tally, User, UserShare
from web.services.studio import Studio

DAY = quotas.DAY


def get_share(studio: Studio, user: User) -> dict[str, Any]:
    """Device-seconds of the last 24 hours, also of jobs that run; of other people only the sum."""
    mine = (Job.user_id == user.id).label("mine")
    with studio.db.reading() as session:
        at = clock(session)
        rows = session.execute(
            select(mine, func.coalesce(func.sum(quotas.used_within_a_day(at)), 0.0))
            .where(or_(Job.finished_at > at - DAY, Job.state == "running"))
            .group_by(mine)
        )
        used = {bool(is_mine): float(seconds) for is_mine, seconds in rows}
        share = session.get(UserShare, user.id)
        limits = quotas.limits_of(session, studio.settings, user.id)
        return {
            "used_seconds": used.get(True, 0.0),
            "all_seconds": sum(used.values()),
            "weight": share.weight if share else 1.0,
            "running": quotas.running_jobs(session, user.id),
            "may_run": limits.max_running_jobs,
        }


def device_busy(studio: Studio) -> dict[str, float]:
    """By worker, which part of the time its device had something to do when it last told."""
    with studio.db.reading() as session:
        rows = session.execute(select(Tally.label, Tally.value).where(Tally.name == "device_busy"))
        return {label: value for label, value in rows}
