"""The pages: server-rendered, usable without JavaScript. A view parses, calls services, renders."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, request
from flask_babel import lazy_gettext

from web import language
from web.said import said
from web.security import user_or_none
from web.views import (
    account,
    admin,
    artifacts,
    datasets,
    docs,
    generate,
    help,
    home,
    jobs,
    joining,
    media,
    models,
    names,
    numbers,
    people,
    queue,
    results,
    signing,
    style,
    tables,
    train,
    webhooks,
    words,
)

# (endpoint, words, icon) of the navigation
SECTIONS = (
    ("pages.home.index", lazy_gettext("Home"), "house"),
    ("pages.datasets.index", lazy_gettext("Datasets"), "database"),
    ("pages.train.index", lazy_gettext("Train"), "graduation-cap"),
    ("pages.models.index", lazy_gettext("Models"), "boxes"),
    ("pages.results.index", lazy_gettext("Results"), "images"),
    ("pages.jobs.index", lazy_gettext("Jobs"), "list"),
    ("pages.queue.index", lazy_gettext("Queue"), "layers"),
)


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
        results,
        queue,
        account,
        webhooks,
        people,
        admin,
        docs,
        help,
        style,
    ):
        pages.register_blueprint(part.bp)
    app.register_blueprint(pages)
    language.init_app(app)
    numbers.init_app(app)
    words.init_app(app)
    media.init_app(app)
    names.init_app(app)
    help.init_app(app)
    tables.init_app(app)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(said=said)
    app.jinja_env.globals.update(next_page=next_page, newest_page=newest_page)
    app.context_processor(frame)


def frame() -> dict[str, Any]:
    """What the frame of every page shows."""
    return {"person": user_or_none(), "sections": SECTIONS}


def next_page(cursor: str) -> str:
    """The present page with its filters, further on."""
    return f"{language.here()}?{urlencode({**_filters(), 'after': cursor})}"


def newest_page() -> str:
    """The present page with its filters, from its beginning."""
    return f"{language.here()}?{urlencode(_filters())}".rstrip("?")


def _filters() -> dict[str, str]:
    return {name: value for name, value in request.args.items() if name != "after"}
