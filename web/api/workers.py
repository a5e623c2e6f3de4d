"""/workers: who runs jobs, whose jobs, and what is in the way of an upgrade. For administrators."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import AlreadyEnded
from web.api import shapes_people as shapes
from web.api.answers import answer, body, no_body, nothing, part_of, query
from web.api.describe import NOTHING, told
from web.queries import Part
from web.requests_people import WorkerChange
from web.security import current_admin, studio
from web.services import workers

bp = Blueprint("workers", __name__, url_prefix="/workers")


@bp.before_request
def _admins_only() -> None:
    current_admin()


@bp.get("")
@told("Workers that live", shapes.WorkerList, query=Part)
def index() -> Response:
    return part_of(workers.list_workers(studio()), query(Part), rising=True)


@bp.patch("/<worker_id>")
@told("Drain a worker, or take that back", shapes.Worker, body=WorkerChange)
def change(worker_id: str) -> Response:
    """Draining, it takes nothing new, writes checkpoints and gives its jobs back; it stays so over a restart."""
    asked = body(WorkerChange)
    admin = current_admin()
    return answer(workers.set_drain(studio(), admin, worker_id, draining=asked.draining))


@bp.get("/jobs")
@told("Everybody's jobs that wait or run", shapes.ActiveJobList)
def jobs() -> Response:
    """Those that run first; whose they are, but not what they are about."""
    return answer(workers.active_jobs(studio()))


@bp.post("/jobs/<job_id>/cancel")
@told("Cancel anybody's job", NOTHING, errors=(AlreadyEnded,))
def cancel(job_id: str) -> Response:
    """What runs is asked to stop."""
    no_body()
    workers.cancel_any(studio(), current_admin(), job_id)
    return nothing()
