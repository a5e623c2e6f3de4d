"""Rows as the objects of the API: the one place that knows their fields. No queries here."""

from __future__ import annotations

import math
from typing import Any

from shared.models import Artifact, Job, JobEvent, Model, Result
from shared.models.mark import STAR
from shared.moments import rfc3339
from shared.waiting import Place

Shape = dict[str, Any]


def finite(value: Any) -> Any:
    """JSON knows neither NaN nor Infinity: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return value


def job_shape(
    job: Job,
    result: Result | None,
    artifacts: list[Artifact],
    queue: Shape,
    left_seconds: float | None = None,
) -> Shape:
    return {
        "id": job.id,
        "kind": job.kind,
        "family": job.family,
        "family_version": job.family_version,
        "name": job.name,
        "state": job.state,
        "params": finite(job.params),
        "seed": job.seed,
        "progress": progress_shape(job, left_seconds),
        "queue": queue,
        "lane": job.lane,
        "priority": job.priority,
        "attempt": job.attempt,
        "error": {"code": job.error_code, "message": job.error_message or ""}
        if job.error_code
        else None,
        "device_seconds": round(job.device_seconds, 3),
        "estimate_seconds": job.estimate_seconds,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "deadline_at": rfc3339(job.deadline_at),
        "dataset_id": job.dataset_id,
        "model_id": job.model_id,
        "retry_of": job.retry_of,
        "continues": job.continues,
        "continues_step": job.continues_step,
        "waits_for": job.waits_for,
        "paused": job.paused_at is not None,
        "cancel_requested": job.cancel_requested_at is not None,
        "version": job.version,
        "result": result_shape(result, artifacts) if result else None,
    }


def progress_shape(job: Job, left_seconds: float | None) -> Shape:
    step, total = job.progress_step, job.progress_total
    fraction = min(1.0, step / total) if total else 0.0
    if job.state == "succeeded":
        fraction = 1.0
    return {
        "step": step,
        "total_steps": total or None,
        "fraction": round(fraction, 6),
        "eta_seconds": None if left_seconds is None else round(left_seconds, 1),
    }


def queue_shape(place: Place, waiting: str | None = None) -> Shape:
    """`reason` is one word for programs; `waiting` says in words what the owner's own quota holds up."""
    return {
        "position": place.position,
        "estimated_start_at": rfc3339(place.starts_at),
        "reason": place.reason,
        "waiting": waiting,
    }


def result_shape(result: Result, artifacts: list[Artifact]) -> Shape:
    return {
        "model_id": result.model_id,
        "artifacts": [artifact_shape(row) for row in artifacts],
        "metrics": finite(result.metrics),
        "build": finite(result.build),
    }


def artifact_shape(row: Artifact) -> Shape:
    return {
        "id": row.id,
        "job_id": row.job_id,
        "media_type": row.media_type,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "name": row.name,
        "index": row.index,
        "role": row.role,
        "seed": row.seed,
        "metrics": finite(row.metrics),
        "label": finite(row.label),
        "created_at": rfc3339(row.created_at),
    }


def card_shape(row: Artifact, job: Job, marks: set[str], mine: bool) -> Shape:
    """A result with how it was made: who shares it shares its recipe, but neither its job nor its model."""
    return {
        **artifact_shape(row),
        "job_id": row.job_id if mine else None,
        "mine": mine,
        "visibility": row.visibility,
        "starred": STAR in marks,
        "tags": sorted(marks - {STAR}),
        "family": job.family,
        "family_version": job.family_version,
        "model_id": job.model_id if mine else None,
        "params": finite(job.params),
        "job_seed": job.seed,
    }


def model_shape(row: Model, mine: bool) -> Shape:
    """The card. Of a shared model, its owner's job and dataset are nobody else's business."""
    return {
        "id": row.id,
        "name": row.name,
        "family": row.family,
        "family_version": row.family_version,
        "visibility": row.visibility,
        "mine": mine,
        "job_id": row.job_id if mine else None,
        "dataset_id": row.dataset_id if mine else None,
        "generate_schema": row.generate_schema,
        "facts": finite(row.facts),
        "metrics": finite(row.metrics),
        "files": row.files,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "licence_note": row.licence_note,
        "created_at": rfc3339(row.created_at),
    }


def event_shape(row: JobEvent) -> Shape:
    return {"n": row.n, "type": row.type, "at": rfc3339(row.at), "data": finite(row.data)}
