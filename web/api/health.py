"""/healthz and /readyz, for whatever watches the server; nobody needs to sign in."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.answers import answer
from web.security import studio
from web.services import queue

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """The process is alive."""
    return answer({"status": "ok"})


@bp.get("/readyz")
def readyz() -> Response:
    """Database and schema can be used; otherwise the error handler answers 503."""
    return answer(queue.readiness(studio()))
