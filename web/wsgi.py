"""The application for a WSGI server: `granian --interface wsgi web.wsgi:app`."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from shared.config import read_settings
from shared.log import set_up_logging
from web import create_app
from web.security import check_bind
from web.services.accounts import has_admin

settings = read_settings()
set_up_logging(settings.log_level)
app = create_app(settings)

try:
    check_bind(settings, has_admin(app.extensions["atelier"].db))
except SQLAlchemyError:
    # requests are answered with 503 until the database is there; `atelier up` has looked before
    logging.getLogger(__name__).warning("the database cannot be read yet")
