"""/jobs/ID/checkpoints and /jobs/ID/continue: look at checkpoints, make models of them, go on with more steps."""

from __future__ import annotations

from flask import Blueprint, Response, request

from shared.errors import Conflict
from web.api import shapes_schema as shapes
from web.api.answers import body, part_of, query
from web.api.describe import told
from web.api.jobs import ACCEPTED, KEY, REFUSALS, accepted
from web.queries import Part
from web.requests import CheckpointModelRequest, ContinueRequest
from web.security import current_user, studio
from web.services import continuing

bp = Blueprint("checkpoints", __name__, url_prefix="/jobs")

LARGEST_STEP = 2**31 - 1


@bp.get("/<job_id>/checkpoints")
@told("The checkpoints of a job, the farthest first", shapes.CheckpointList, query=Part)
def index(job_id: str) -> Response:
    found = continuing.list_checkpoints(studio(), current_user(), job_id)["items"]
    return part_of(found, query(Part), lambda one: f"{one['step']:010}")


@bp.post("/<job_id>/continue")
@told(
    "Go on with more steps",
    {202: ACCEPTED},
    body=ContinueRequest,
    headers=KEY,
    errors=(*REFUSALS, Conflict),
)
def go_on(job_id: str) -> Response:
    asked = body(ContinueRequest)
    return accepted(continuing.continue_job(studio(), current_user(), job_id, asked, _key()))


@bp.post(f"/<job_id>/checkpoints/<int(max={LARGEST_STEP}):step>/model")
@told(
    "Make a model of a checkpoint",
    {202: ACCEPTED},
    body=CheckpointModelRequest,
    headers=KEY,
    errors=(*REFUSALS, Conflict),
)
def make_model(job_id: str, step: int) -> Response:
    asked = body(CheckpointModelRequest)
    return accepted(continuing.make_model(studio(), current_user(), job_id, step, asked, _key()))


def _key() -> str | None:
    return request.headers.get("Idempotency-Key")
