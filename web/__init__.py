"""The web process: HTTP in, HTTP out. It shows what workers announce and writes what people ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from shared.config import Settings

# What needs Flask is imported inside: the command line imports this package too and needs none.


def create_app(settings: Settings, *, background: bool = True) -> Flask:
    """The application; `background=False` leaves out the reaper."""
    from web import reaper

    app = make_app()
    attach(app, settings)
    if background:
        reaper.start(app.extensions["atelier"])
    return app


def make_app() -> Flask:
    """The code: routes, hooks, templates. It serves nothing before a studio is attached."""
    from flask import Flask

    from web import api, errors, metrics, security, views
    from web.receiving import ReceivingRequest

    app = Flask("web", static_folder="static", template_folder="templates")
    # whatever FLASK_DEBUG says: with it, exceptions pass the one place that answers them
    app.debug = False
    app.request_class = ReceivingRequest
    errors.init_app(app)
    security.init_app(app)
    api.init_app(app)
    metrics.init_app(app)
    views.init_app(app)
    return app


def attach(app: Flask, settings: Settings) -> None:
    """What it serves: a new studio on these settings, instead of the one before."""
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from web import bodies, metrics, security
    from web.services.studio import open_studio

    studio = app.extensions["atelier"] = open_studio(settings)
    security.attach(app, studio)
    metrics.attach(app, studio)
    counted = bodies.Bodies(Flask.wsgi_app.__get__(app), settings)
    # who really asks: the throttle, sessions and the audit go by it
    known = ProxyFix(counted, x_for=settings.trusted_proxies, x_proto=0)
    app.wsgi_app = known if settings.trusted_proxies else counted  # type: ignore[method-assign]
