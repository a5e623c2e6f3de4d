"""The JSON API under /api/v1: each file a noun; a view parses, calls one service, answers."""

from __future__ import annotations

from flask import Blueprint, Flask, current_app, request

from web.api import (
    archives,
    artifacts,
    audit,
    checkpoints,
    datasets,
    documents,
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
from web.api.answers import query
from web.api.describe import told_of
from web.api.document import BASE
from web.queries import Nothing
from web.security import OPEN_TO_ALL, current_user


def init_app(app: Flask) -> None:
    api = Blueprint("api", __name__, url_prefix=BASE)
    app.url_map.converters["artifact"] = artifacts.ArtifactId
    api.before_request(_must_be_signed_in)
    for part in (
        archives,
        artifacts,
        audit,
        checkpoints,
        datasets,
        documents,
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
    """And ask nothing that the call does not know: a misspelt filter would be answered as if it had been applied."""
    view = told_of(current_app.view_functions[request.endpoint or ""])
    if request.endpoint not in OPEN_TO_ALL and not (view and view.public):
        current_user()
    if view and view.query is None:
        query(Nothing)
