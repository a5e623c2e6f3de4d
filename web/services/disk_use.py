"""What lies on the disk, by class, what the last sweeps freed, and the order for another one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared import disk, short_tasks
from shared.ids import new_id
from shared.models import Artifact, Checkpoint, Dataset, Model, Sweep
from shared.moments import rfc3339
from web.services.studio import Studio

SWEEPS_SHOWN = 20
# Measured by the sweep: no row tells how large they are.
MEASURED = ("uploads", "orphans")


def get_storage(studio: Studio) -> dict[str, Any]:
    """The disk, the bytes in use by class, the last sweeps (newest first)."""
    with studio.db.reading() as session:
        sweeps = session.scalars(
            select(Sweep).order_by(Sweep.started_at.desc()).limit(SWEEPS_SHOWN)
        ).all()
        measure = session.scalar(
            select(Sweep).where(Sweep.found.is_not(None)).order_by(Sweep.started_at.desc()).limit(1)
        )
        used = _used(session)
    found = measure.found or {} if measure else {}
    for name in MEASURED:
        counts = found.get(name, {"files": 0, "bytes": 0})
        used[name] = {"count": counts["files"], "bytes": counts["bytes"]}
    return {
        "disk": disk.usage(studio.settings),
        "used": used,
        "measured_at": rfc3339(measure.finished_at) if measure else None,
        "sweeps": [_shape(row) for row in sweeps],
    }


def _used(session: Session) -> dict[str, dict[str, int]]:
    """By the rows, hidden ones too: their bytes are there until a sweep."""
    used = {}
    tables: dict[str, type[Any]] = {
        "datasets": Dataset,
        "models": Model,
        "artifacts": Artifact,
        "checkpoints": Checkpoint,
    }
    for name, table in tables.items():
        count, size = session.execute(
            select(func.count(), func.coalesce(func.sum(table.bytes), 0)).select_from(table)
        ).one()
        used[name] = {"count": int(count), "bytes": int(size)}
    return used


def _shape(row: Sweep) -> dict[str, Any]:
    return {
        "id": row.id,
        "why": row.why,
        "started_at": rfc3339(row.started_at),
        "finished_at": rfc3339(row.finished_at),
        "removed": row.removed,
        "bytes": sum(counts["bytes"] for counts in row.removed.values()),
        "files": sum(counts["files"] for counts in row.removed.values()),
        "rows": sum(counts["rows"] for counts in row.removed.values()),
        "free_bytes_before": row.free_before,
        "free_bytes_after": row.free_after,
    }


def order_sweep(studio: Studio) -> dict[str, str]:
    """The cpu worker sweeps as soon as it can; its row will have this id."""
    sweep_id = new_id()
    with studio.db.writing() as session:
        arguments = {"files": True, "why": "asked", "sweep_id": sweep_id}
        short_tasks.add(session, "sweep", arguments)
    studio.wakeups.tasks()
    return {"id": sweep_id}
