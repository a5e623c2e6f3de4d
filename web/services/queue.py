"""The queue as one user sees it, what he holds and may hold, and whether the server is ready."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared import catalog, scheduling
from shared.models import FamilyRow, Job, Quota, User, UserShare, Worker
from shared.quotas import storage_limit, storage_used
from web.services.shapes import rfc3339
from web.services.studio import Studio

MOST_JOBS = 50


def get_queue(studio: Studio, user: User) -> dict[str, Any]:
    """Lanes, the user's own jobs with their places, others as counts, devices and workers."""
    with studio.db.reading() as session:
        workers = catalog.live_workers(session)
        loads = _loads(session, user)
        return {
            "lanes": _lanes(session, user),
            "jobs": _own_jobs(session, user),
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


def _own_jobs(session: Session, user: User) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(Job)
        .where(
            Job.user_id == user.id,
            Job.state.in_(("queued", "running")),
            Job.deleted_at.is_(None),
        )
        .order_by(Job.state.desc(), Job.rank, Job.id)
        .limit(MOST_JOBS)
    ).all()
    places = scheduling.queue_positions(session, rows)
    return [
        {
            "id": row.id,
            "name": row.name,
            "kind": row.kind,
            "family": row.family,
            "lane": row.lane,
            "state": row.state,
            "paused": row.paused_at is not None,
            "position": places.get(row.id),
        }
        for row in rows
    ]


def _device(worker: Worker, running: dict[str, int]) -> dict[str, Any]:
    facts = worker.facts
    return {
        "worker_id": worker.id,
        "device": worker.device,
        "name": facts.get("device_name"),
        "memory_bytes": facts.get("memory_bytes"),
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
        quota = session.get(Quota, user.id)
        share = session.get(UserShare, user.id)
        counts = _counts(session, user)
        used = storage_used(session, user.id)
        room = storage_limit(session, studio.settings, user.id)
    jobs = quota.max_queued_jobs if quota else None
    return {
        "id": user.id,
        "name": user.name,
        "roles": ["user", "admin"] if user.role == "admin" else ["user"],
        "created_at": rfc3339(user.created_at),
        "quota": {
            "max_queued_jobs": studio.settings.max_queued_jobs if jobs is None else jobs,
            "max_storage_bytes": room,
        },
        "use": {
            "queued_jobs": counts["queued"],
            "running_jobs": counts["running"],
            "storage_bytes": used,
            "device_seconds": round(share.device_seconds, 3) if share else 0.0,
        },
    }


def _counts(session: Session, user: User) -> dict[str, int]:
    rows = session.execute(
        select(Job.state, func.count())
        .where(Job.user_id == user.id, Job.state.in_(("queued", "running")))
        .group_by(Job.state)
    )
    return defaultdict(int, {state: count for state, count in rows})


def readiness(studio: Studio) -> dict[str, int]:
    """{"families", "workers"} when database and schema can be used; raises what the database raises otherwise."""
    with studio.db.reading() as session:
        session.execute(select(Job).limit(1)).all()
        return {
            "families": session.scalar(select(func.count(FamilyRow.name.distinct()))) or 0,
            "workers": len(catalog.live_workers(session)),
        }
