"""The JSON API under /api/v1: each file a noun; a view parses, calls one service, answers."""

from __future__ import annotations

from flask import Blueprint, Flask, request

from web.api import (
    artifacts,
    audit,
    checkpoints,
    datasets,
    events,
    families,
    health,
    invitations,
    jobs,
    me,
    models,
    queue,
    storage,
    uploads,
    users,
)
from web.security import OPEN_TO_ALL, current_user

BASE = "/api/v1"


def init_app(app: Flask) -> None:
    api = Blueprint("api", __name__, url_prefix=BASE)
    api.before_request(_must_be_signed_in)
    for part in (
        artifacts,
        audit,
        checkpoints,
        datasets,
        events,
        families,
        health,
        invitations,
        jobs,
        me,
        models,
        queue,
        storage,
        uploads,
        users,
    ):
        api.register_blueprint(part.bp)
    app.register_blueprint(api)
    app.register_blueprint(health.bp, name="health")


def _must_be_signed_in() -> None:
    if request.endpoint not in OPEN_TO_ALL:
        current_user()
