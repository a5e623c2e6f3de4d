"""`python -m web.server`: the web application under granian, bound as the settings say."""

from __future__ import annotations

import os
import sys
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from shared.config import read_settings
from shared.errors import AppError
from shared.log import JsonFormatter
from shared.parent import die_with

# An open event stream would hold a stop for ever; browsers reconnect and resume by Last-Event-ID.
SECONDS_FOR_OPEN_REQUESTS = 8
# A head that comes slower is cut off. There is no such limit for bodies (SECURITY.md).
SECONDS_FOR_HEADERS = 30


def main() -> None:
    settings = read_settings()
    # Before granian forks, so that the code is in memory once; the application itself is made after.
    import web.api
    import web.services.studio
    import web.views  # noqa: F401

    if "--when-told" in sys.argv:
        # `atelier up` prepares the database meanwhile and closes our input when it is ready
        sys.stdin.read()
    else:
        from web.welcome import refuse_open_door

        refuse_open_door(settings)
    server = Granian(
        "web.wsgi:app",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=settings.web_threads,
        websockets=False,
        # HTTP/2 is for whatever ends TLS; here it would only be more that a stranger can hold open
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=SECONDS_FOR_HEADERS * 1000),
        workers_kill_timeout=SECONDS_FOR_OPEN_REQUESTS,
        log_level=LogLevels.error,
        log_dictconfig=_json_lines(),
    )
    main_pid = os.getpid()

    def load(_target: str) -> Any:
        # Runs in the forked process that serves. Without this it would outlive a killed main.
        die_with(main_pid)
        from web.wsgi import app

        return app

    server.serve(target_loader=load)


def _json_lines() -> dict[str, Any]:
    handlers = {"json": {"class": "logging.StreamHandler", "formatter": "json"}}
    loggers = {
        name: {"handlers": ["json"], "propagate": False} for name in ("_granian", "granian.access")
    }
    return {
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": handlers,
        "loggers": loggers,
    }


if __name__ == "__main__":
    try:
        main()
    except AppError as problem:
        sys.exit(f"atelier: {problem.message}")
