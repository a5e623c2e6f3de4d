"""The JSON API under /api/v1: each file a noun; a view parses, calls one service, answers.

A file here that has a blueprint `bp` is part of it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from flask import Blueprint, Flask, current_app, request

from web.api import artifacts, health
from web.api.answers import query
from web.api.describe import told_of
from web.api.document import BASE
from web.queries import Nothing
from web.security import OPEN_TO_ALL, current_user

# at import: web/server.py loads all code before it forks
PARTS = tuple(import_module(f"{__name__}.{file.name}") for file in iter_modules(__path__))


def init_app(app: Flask) -> None:
    api = Blueprint("api", __name__, url_prefix=BASE)
    app.url_map.converters["artifact"] = artifacts.ArtifactId
    api.before_request(_must_be_signed_in)
    for part in PARTS:
        if isinstance(bp := getattr(part, "bp", None), Blueprint):
            api.register_blueprint(bp)
    app.register_blueprint(api)
    app.register_blueprint(health.bp, name="health")


def _must_be_signed_in() -> None:
    """And ask nothing that the call does not know: a misspelt filter would be answered as if it had been applied."""
    view = told_of(current_app.view_functions[request.endpoint or ""])
    if request.endpoint not in OPEN_TO_ALL and not (view and view.public):
        current_user()
    if view and view.query is None:
        query(Nothing)
