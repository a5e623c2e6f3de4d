"""The queue as one user sees it, what he holds and may hold, and whether the server is ready."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import catalog, quotas, scheduling
from shared.db import cause, clock
from shared.errors import Unavailable
from shared.models import FamilyRow, Job, User, UserShare, Worker
from shared.moments import rfc3339
from web.services import shown
from web.services.studio import Studio

log = logging.getLogger(__name__)

MOST_JOBS = 50
# what the answer says of a job beside its place
BRIEFLY = ("id", "name", "kind", "family", "lane", "state", "paused")


def get_queue(studio: Studio, user: User) -> dict[str, Any]:
    """Lanes, the user's own jobs with their places, others as counts, devices and workers."""
    found = whole_queue(studio, user)
    return {**found, "jobs": [_briefly(job) for job in found["jobs"]]}


def whole_queue(studio: Studio, user: User) -> dict[str, Any]:
    """The same with all that is known of each job."""
    with studio.db.reading() as session:
        workers = catalog.live_workers(session)
        loads = _loads(session, user)
        return {
            "lanes": _lanes(session, user),
            "jobs": shown.jobs(session, _own_jobs(session, user), studio.settings),
            "devices": [_device(one, loads[one.id]) for one in workers if one.kind == "device"],
            "workers": [_worker(one, loads[one.id]) for one in workers],
        }


def _loads(session: Session, user: User) -> dict[str, dict[str, int]]:
    """How many jobs each worker runs, and how many of them are the user's; nothing else about other people's."""
    loads: dict[str, dict[str, int]] = defaultdict(lambda: {"jobs": 0, "mine": 0})
    mine = (Job.user_id == user.id).label("mine")
    rows = session.execute(
        select(Job.owner, mine, func.count())
        .where(Job.state == "running", Job.owner.is_not(None))
        .group_by(Job.owner, mine)
    )
    for owner, is_mine, count in rows:
        loads[str(owner)]["jobs"] += count
        loads[str(owner)]["mine"] += count if is_mine else 0
    return loads


def _lanes(session: Session, user: User) -> dict[str, dict[str, int]]:
    lanes = {lane: {"queued": 0, "running": 0, "mine": 0, "others": 0} for lane in scheduling.LANES}
    mine = (Job.user_id == user.id).label("mine")
    rows = session.execute(
        select(Job.lane, Job.state, mine, func.count())
        .where(Job.state.in_(("queued", "running")))
        .group_by(Job.lane, Job.state, mine)
    )
    for lane, state, is_mine, count in rows:
        lanes[lane][state] += count
        lanes[lane]["mine" if is_mine else "others"] += count
    return lanes


def line_of(studio: Studio, lane: str) -> int:
    """How many jobs wait in this lane and are not paused."""
    with studio.db.reading() as session:
        waiting = (Job.state == "queued", Job.lane == lane, Job.paused_at.is_(None))
        return session.scalar(select(func.count()).where(*waiting)) or 0


def _own_jobs(session: Session, user: User) -> Sequence[Job]:
    """What runs, then what is next."""
    return session.scalars(
        select(Job)
        .where(
            Job.user_id == user.id,
            Job.state.in_(("queued", "running")),
            Job.deleted_at.is_(None),
        )
        .order_by(Job.state.desc(), Job.rank, Job.id)
        .limit(MOST_JOBS)
    ).all()


def _briefly(job: dict[str, Any]) -> dict[str, Any]:
    return {**{name: job[name] for name in BRIEFLY}, **job["queue"]}


def _device(worker: Worker, running: dict[str, int]) -> dict[str, Any]:
    facts = worker.facts
    return {
        "worker_id": worker.id,
        "device": worker.device,
        "name": facts.get("device_name"),
        "memory_bytes": facts.get("memory_bytes"),
        "memory_used_bytes": facts.get("memory_used_bytes"),
        "problem": facts.get("device_problem") or None,
        "threads": facts.get("threads"),
        "flops_per_second": facts.get("flops_per_second"),
        "state": worker.state,
        "heartbeat_at": rfc3339(worker.heartbeat_at),
        "running": running,
    }


def _worker(worker: Worker, running: dict[str, int]) -> dict[str, Any]:
    return {
        "id": worker.id,
        "kind": worker.kind,
        "device": worker.device,
        "state": worker.state,
        "families": sorted(worker.families),
        "started_at": rfc3339(worker.started_at),
        "heartbeat_at": rfc3339(worker.heartbeat_at),
        "running": running,
    }


def get_me(studio: Studio, user: User) -> dict[str, Any]:
    """Name, roles, quota and use."""
    with studio.db.reading() as session:
        limits = quotas.limits_of(session, studio.settings, user.id)
        use = use_of(session, user.id)
    return {
        "id": user.id,
        "name": user.name,
        "roles": ["user", "admin"] if user.role == "admin" else ["user"],
        "created_at": rfc3339(user.created_at),
        "quota": asdict(limits),
        "use": use,
    }


def use_of(session: Session, user_id: str) -> dict[str, Any]:
    """What a user holds of each quota, and device-seconds in all."""
    return uses_of(session, [user_id])[user_id]


def uses_of(session: Session, user_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Of each of these users, in as many queries as for one."""
    counts = _counts(session, user_ids)
    rows = session.execute(
        select(UserShare.user_id, UserShare.device_seconds).where(UserShare.user_id.in_(user_ids))
    )
    seconds = {user_id: device_seconds for user_id, device_seconds in rows}
    storage = quotas.storage_used_by(session, user_ids)
    today = quotas.used_today_by(session, user_ids, clock(session))
    reserved = quotas.reserved_by(session, user_ids)
    return {
        one: {
            "queued_jobs": counts[one, "queued"],
            "running_jobs": counts[one, "running"],
            "storage_bytes": int(storage[one]),
            "device_seconds": round(seconds.get(one, 0.0), 3),
            "device_seconds_today": round(today[one], 3),
            "device_seconds_reserved": round(reserved[one], 3),
        }
        for one in user_ids
    }


def _counts(session: Session, user_ids: Collection[str]) -> dict[tuple[str, str], int]:
    rows = session.execute(
        select(Job.user_id, Job.state, func.count())
        .where(Job.user_id.in_(user_ids), Job.state.in_(("queued", "running")))
        .group_by(Job.user_id, Job.state)
    )
    return defaultdict(int, {(user_id, state): count for user_id, state, count in rows})


def readiness(studio: Studio) -> dict[str, int]:
    """{"families", "workers"} when database and schema can be used; Unavailable otherwise."""
    try:
        with studio.db.reading() as session:
            session.execute(select(Job).limit(1)).all()
            return {
                "families": session.scalar(select(func.count(FamilyRow.name.distinct()))) or 0,
                "workers": len(catalog.live_workers(session)),
            }
    except SQLAlchemyError as error:  # no table, too: the schema may be made later
        log.warning("not ready: %s", cause(error))
        raise Unavailable("The database cannot be used right now; try again shortly.") from error
