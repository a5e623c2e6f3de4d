"""The pages: server-rendered, usable without JavaScript. A view parses, calls services, renders."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, request

from web.security import user_or_none
from web.views import (
    account,
    artifacts,
    datasets,
    docs,
    generate,
    home,
    jobs,
    joining,
    media,
    models,
    people,
    queue,
    signing,
    train,
    words,
)

SECTIONS = (
    ("pages.home.index", "Home"),
    ("pages.datasets.index", "Datasets"),
    ("pages.train.index", "Train"),
    ("pages.models.index", "Models"),
    ("pages.jobs.index", "Jobs"),
    ("pages.queue.index", "Queue"),
)
PEOPLE = ("pages.people.index", "People")  # for administrators


def init_app(app: Flask) -> None:
    pages = Blueprint("pages", __name__)
    for part in (
        signing,
        joining,
        home,
        datasets,
        train,
        models,
        generate,
        jobs,
        artifacts,
        queue,
        account,
        people,
        docs,
    ):
        pages.register_blueprint(part.bp)
    app.register_blueprint(pages)
    words.init_app(app)
    media.init_app(app)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(next_page=next_page)
    app.context_processor(frame)


def frame() -> dict[str, Any]:
    """What the frame of every page shows."""
    person = user_or_none()
    sections = (*SECTIONS, PEOPLE) if person and person.role == "admin" else SECTIONS
    return {"person": person, "sections": sections, "language": "en"}


def next_page(cursor: str) -> str:
    """The present page with its filters, further on."""
    kept = {name: value for name, value in request.args.items() if name != "after"}
    return f"{request.path}?{urlencode({**kept, 'after': cursor})}"
