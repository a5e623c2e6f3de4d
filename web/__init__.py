"""The web process: HTTP in, HTTP out. It shows what workers announce and writes what people ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from shared.config import Settings


def create_app(settings: Settings, *, background: bool = True) -> Flask:
    """The application; `background=False` leaves out the reaper."""
    # here, because the command line imports this package too and needs no Flask
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from web import api, bodies, errors, metrics, reaper, security, views
    from web.receiving import ReceivingRequest
    from web.services.studio import open_studio

    app = Flask("web", static_folder="static", template_folder="templates")
    # whatever FLASK_DEBUG says: with it, exceptions pass the one place that answers them
    app.debug = False
    app.request_class = ReceivingRequest
    studio = open_studio(settings)
    app.extensions["atelier"] = studio
    errors.init_app(app)
    security.init_app(app, studio)
    api.init_app(app)
    metrics.init_app(app, studio)
    views.init_app(app)
    app.wsgi_app = bodies.Bodies(app.wsgi_app, settings)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        # who really asks: the throttle, sessions and the audit go by it
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0
        )
    if background:
        reaper.start(studio)
    return app
