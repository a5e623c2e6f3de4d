"""What becomes of rows that come back from a backup: nobody holds a lease any more, no link of that time opens a door.

Restoring writes them before anybody can run a job, so this stands beside shared/jobs.py and not in it.
"""

from __future__ import annotations

from typing import Any

# An old worker may still hold a job of before, under a fence that the new history would come to as well.
FENCES_APART = 1_000_000

Row = dict[str, Any]


def job(row: Row, at: float, step: int | None = None) -> tuple[Row, Row | None]:
    """The row, and the event that tells what happened to it. What ran waits again, without a strike.

    `step`: where its farthest checkpoint is, if one of them was lost.
    """
    if row["state"] not in ("queued", "running"):
        return row, None
    row = row | {"fence": row["fence"] + FENCES_APART}
    if step is not None:
        step = max(step, row.get("continues_step") or 0)
        row |= {"checkpoint_step": step, "progress_step": step}
    if row["state"] == "queued":
        return row, None
    cancelled = row["cancel_requested_at"] is not None
    row |= {
        "state": "cancelled" if cancelled else "queued",
        "version": row["version"] + 1,
        "owner": None,
        "lease_until": None,
        "not_before": None,
        "progress_step": row["checkpoint_step"],
        "charged_seconds": row["device_seconds"],
        "finished_at": at if cancelled else None,
    }
    told = {"state": row["state"], "why": "restored"}
    told |= {"attempt": row["attempt"], "fence": row["fence"]}
    event = {"job_id": row["id"], "n": row["version"], "type": "state", "at": at, "data": told}
    return row, event


def short_task(row: Row) -> Row:
    row = row | {"fence": row["fence"] + FENCES_APART}
    if row["state"] == "running":
        row |= {"state": "queued", "lease_until": None}
    return row


def message(row: Row) -> Row:
    """To a webhook. What waited is told, late or once more: under an id that whoever receives can know again."""
    if "fence" not in row:  # of a version that sent none
        return row
    return row | {"fence": row["fence"] + FENCES_APART, "lease_until": None}


def user(row: Row) -> Row:
    """A one-time link of that time was perhaps used, or sent to somebody who is not to have it any more."""
    return row | {"link_hash": None, "link_until": None}


def revoked(row: Row, at: float) -> Row:
    """An invitation, or a token when that is asked for."""
    return row | {"revoked_at": at if row["revoked_at"] is None else row["revoked_at"]}
