"""/healthz and /readyz, for whatever watches the server; nobody needs to sign in."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api import shapes_server as shapes
from web.api.answers import answer
from web.api.describe import told
from web.security import studio
from web.services import queue

bp = Blueprint("health", __name__)


@bp.get("/healthz")
@told("Whether the process is alive", shapes.Alive, public=True)
def healthz() -> Response:
    """The process is alive."""
    return answer({"status": "ok"})


@bp.get("/readyz")
@told("Whether work can be accepted", shapes.Ready, public=True)
def readyz() -> Response:
    """Database and schema can be used; 503 otherwise."""
    return answer(queue.readiness(studio()))
