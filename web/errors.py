"""Where errors meet HTTP: problem+json for the API, a page for browsers, one shape for each."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError

from shared.db import is_away, is_disk_full
from shared.errors import (
    AppError,
    BadRange,
    NotFound,
    NotSignedIn,
    StorageFull,
    TooLarge,
    Unavailable,
)
from shared.log import request_id
from shared.storage import is_full

PROBLEM_JSON = "application/problem+json"
# What a raised error may add to its answer beside the members that all have.
EXTRA_MEMBERS = ("errors", "dependents", "job", "quota")

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    app.register_error_handler(AppError, answer)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(OSError, _disk_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(PoolTimeout, _database_error)
    app.register_error_handler(Exception, _unknown_error)


def answer(error: AppError) -> ResponseReturnValue:
    if for_browser():
        return _page(error)
    # escaped: a pointer may name a field that holds half a character
    response = Response(json.dumps(problem(error)), error.status, mimetype=PROBLEM_JSON)
    response.headers.update(error.headers)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="atelier"'
    return response


def problem(error: AppError) -> dict[str, Any]:
    """The body of RFC 9457."""
    body: dict[str, Any] = {
        "type": f"urn:atelier:problem:{error.code}",
        "title": title_of(error),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id.get(),
    }
    facts = {"errors": getattr(error, "errors", None)} | error.facts
    body |= {name: facts[name] for name in EXTRA_MEMBERS if facts.get(name)}
    # "409 with the job": under its name, and as its own fields for who reads the body as the job
    return {**body.get("job", {}), **body}


def title_of(error: AppError) -> str:
    return (type(error).__doc__ or "").strip().splitlines()[0]


def for_browser() -> bool:
    """Browsers name text/html; programs that take anything get JSON."""
    named = "text/html" in request.accept_mimetypes.values()
    return named and not request.path.startswith("/api/")


def _page(error: AppError) -> ResponseReturnValue:
    if isinstance(error, NotSignedIn) and request.method in ("GET", "HEAD"):
        there = request.full_path.rstrip("?")
        return redirect(url_for("pages.signing.sign_in", next=there), HTTPStatus.SEE_OTHER)
    page = render_template("error.html", error=error, problem=problem(error))
    return page, error.status, error.headers


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error
    if isinstance(error, InternalServerError) and error.original_exception:
        original = error.original_exception
        return _disk_error(original) if isinstance(original, OSError) else _database_error(original)
    known = {404: NotFound, 413: TooLarge, 416: BadRange}.get(error.code)
    raised: AppError = known() if known else _named(error)
    # what werkzeug itself adds, like Allow and Retry-After
    added = dict(error.get_headers())
    added.pop("Content-Type", None)
    raised.headers = {**raised.headers, **added}
    return answer(raised)


def _named(error: HTTPException) -> AppError:
    status = HTTPStatus(error.code or 500)
    raised = AppError(error.description or status.phrase)
    raised.status = status.value
    raised.code = status.name.lower()
    return raised


def _disk_error(error: OSError) -> ResponseReturnValue:
    """507 if the disk is full, wherever that was noticed: also while a body is still being received."""
    if not is_full(error):
        return _unknown_error(error)
    log.error("the disk is full")
    return answer(StorageFull())


def _database_error(error: BaseException) -> ResponseReturnValue:
    """503 if the database is away, restarting, or another writer held SQLite's lock for too long."""
    if is_disk_full(error):
        log.error("the database's disk is full")
        return answer(StorageFull())
    if not (isinstance(error, PoolTimeout) or is_away(error)):
        return _unknown_error(error)
    log.warning("database unavailable: %s", type(error).__name__)
    return answer(Unavailable("The database cannot be used right now; try again shortly."))


def _unknown_error(error: BaseException) -> ResponseReturnValue:
    log.error("unhandled error", exc_info=(type(error), error, error.__traceback__))
    return answer(AppError("Something went wrong; the log has the details under this request id."))
