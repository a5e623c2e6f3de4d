"""JSON lines on stderr with request_id, user_id and job_id; never a prompt, never a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
user_id: ContextVar[str] = ContextVar("user_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")
CONTEXT = {"request_id": request_id, "user_id": user_id, "job_id": job_id}

FIELDS = frozenset({"at", "level", "logger", "message", "process"})  # of every line
LONGEST_CHAIN = 5
# of a traceback as Python prints it, and of what faulthandler says
FRAME = re.compile(r'\s*File "[^"]{1,400}", line \d+(,? in \S{1,200})?')
KIND = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt)(?=:|$)")
FATAL = re.compile(r"Fatal Python error: [A-Za-z ]{1,100}")


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
        for name, variable in CONTEXT.items():
            if value := variable.get():
                line[name] = value
        if record.exc_info:
            line["exception"] = _exception(record.exc_info[1])
        # json.dumps escapes line breaks: one event stays one line whatever a message holds
        return json.dumps(line, ensure_ascii=False)


def _exception(error: BaseException | None) -> str:
    """Where it happened and of what class. What it says may quote a prompt; only the system's words are kept."""
    parts: list[str] = []
    while error is not None and len(parts) < LONGEST_CHAIN:
        frames = "".join(traceback.format_tb(error.__traceback__))
        words = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        parts.append(f"{frames}{type(error).__module__}.{type(error).__qualname__}{words}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\ncaused by\n".join(parts)


def places(trace: str) -> str:
    """Of a printed traceback where it happened and of what class. Its other lines may quote a prompt."""
    kept = []
    for line in trace.splitlines():
        if found := FRAME.match(line) or KIND.match(line) or FATAL.match(line):
            kept.append(found[0].strip())
    return "\n".join(kept)


def set_up_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # those of sqlalchemy show rows when the level is DEBUG
    for noisy in (
        "alembic.runtime.migration",
        "celery.redirected",
        "httpcore",
        "httpx",
        "sqlalchemy",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
