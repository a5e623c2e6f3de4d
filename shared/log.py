"""JSON lines on stderr with request_id and job_id; never a prompt, never a secret."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        for name, variable in (("request_id", request_id), ("job_id", job_id)):
            if value := variable.get():
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # json.dumps escapes line breaks: one event stays one line whatever a message holds
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("alembic.runtime.migration", "celery.redirected", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
