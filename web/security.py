"""Who is asking, and what a request must be like: principal, CSRF, origin, host, headers, the public bind."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request, session
from flask_wtf.csrf import CSRFProtect

from shared import quotas
from shared.config import Settings
from shared.errors import BadRequest, BadSettings, Forbidden, NotFound, NotSignedIn
from shared.log import job_id, request_id, user_id
from shared.models import User
from web import scopes
from web.receiving import Allowance, ReceivingRequest
from web.services import sessions, tokens
from web.services.studio import Studio
from web.session import SqlSession, SqlSessions

# What a caller or a proxy may choose; short enough for a log, and nothing like a token of ours.
REQUEST_ID = re.compile(r"(?!atelier_)[A-Za-z0-9._-]{1,64}")
JOB_ID = re.compile(r"[0-9a-z]{1,32}")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# of no public name (RFC 6762, RFC 8375, ICANN's .internal), and one that home routers give
LOCAL_SUFFIXES = (".local", ".home.arpa", ".internal", ".lan")
LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
# none that a form of another page could send without asking first, but for multipart
API_BODY_TYPES = frozenset(
    {"application/json", "multipart/form-data", "application/offset+octet-stream", ""}
)
# More than the heads of the parts of most uploads; those of more are counted while they come.
MULTIPART_BYTES = 1 << 16
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

csrf = CSRFProtect()
log = logging.getLogger(__name__)
View = TypeVar("View", bound=Callable[..., Any])


class NotThisWay(Forbidden):
    """This request did not come from a page of this server."""

    code = "csrf"


class WrongMediaType(BadRequest):
    """Send application/json."""

    status = 415
    code = "unsupported_media_type"


@dataclass(frozen=True)
class Principal:
    """Who asks, and how we know."""

    user: User
    via: str  # token | session
    credential_id: str  # of the row of that token or session
    scopes: frozenset[str] = frozenset()  # of a token; none is all that the user may do


def init_app(app: Flask) -> None:
    app.config.update(
        WTF_CSRF_CHECK_DEFAULT=False,  # _guard() decides when
        WTF_CSRF_SSL_STRICT=False,  # _guard() looks at Origin instead of Referer
        WTF_CSRF_TIME_LIMIT=None,  # a token lives as long as its session
    )
    csrf.init_app(app)
    app.before_request(_begin)
    app.before_request(_guard)
    app.after_request(_add_headers)
    app.after_request(_log)


def attach(app: Flask, studio: Studio) -> None:
    """What of it depends on the settings."""
    app.session_interface = SqlSessions(studio.settings, studio.db)
    app.config.update(
        SECRET_KEY=studio.settings.secret,
        MAX_CONTENT_LENGTH=studio.settings.max_body_bytes,
        # never less than what the multipart parser holds at once, or every upload is too large
        MAX_FORM_MEMORY_SIZE=max(studio.settings.max_body_bytes, 1 << 18),
    )


def studio() -> Studio:
    """The studio of the running app."""
    found: Studio = current_app.extensions["atelier"]
    return found


# ---- who ---------------------------------------------------------------------------------------


def user_or_none() -> User | None:
    """Whoever is signed in, by a token or by a session."""
    principal: Principal | None = g.get("principal")
    return principal.user if principal else None


def current_user() -> User:
    """Raises NotSignedIn."""
    user = user_or_none()
    if user is None:
        raise NotSignedIn()
    return user


def current_admin() -> User:
    """Raises NotSignedIn, Forbidden."""
    user = current_user()
    if user.role != "admin":
        raise Forbidden("Only administrators may do this.")
    return user


def still_signed_in() -> Callable[[], bool]:
    """For answers that take long: asks again, later and without a request, whether this asker would be let in."""
    principal: Principal = g.principal
    here = studio()
    is_valid = tokens.is_valid if principal.via == "token" else sessions.is_valid
    return lambda: is_valid(here, principal.credential_id)


def browser_session() -> SqlSession:
    found = session._get_current_object()  # type: ignore[attr-defined]
    assert isinstance(found, SqlSession)
    return found


def start_session(user: User) -> None:
    """Signs this browser in under a new session id; call it after accounts.sign_in()."""
    browser_session().begin_for(user)


def end_session() -> None:
    browser_session().end()


def check_sign_in_allowed() -> None:
    """Passwords and session cookies do not travel in clear beyond this machine. Raises Forbidden."""
    settings = studio().settings
    if settings.allow_http or settings.public_url.startswith("https://"):
        return
    if not _is_loopback(_host_of(request.host)):
        raise Forbidden(
            "Signing in over plain http is refused here: set ATELIER_PUBLIC_URL to an https:// "
            "address, or ATELIER_ALLOW_HTTP=1 on a network you trust."
        )


def absolute(path: str) -> str:
    """A path of ours as people can follow it: under the configured origin, or the one that was asked (_check_host)."""
    return (studio().settings.public_url or request.host_url).rstrip("/") + path


def takes_upload(view: View) -> View:
    """Marks a view whose body may be as large as an upload; it is read after its sender is known."""
    view.takes_upload = True  # type: ignore[attr-defined]
    return view


def takes_file(most_bytes: int) -> Callable[[View], View]:
    """Marks a view whose body may hold a file that is only looked at: larger than other bodies, and never kept."""

    def mark(view: View) -> View:
        view.takes_file = most_bytes  # type: ignore[attr-defined]
        return view

    return mark


def find_principal() -> Principal | None:
    """By a token or a session. Raises NotSignedIn for one that is not good."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotSignedIn("Use Authorization: Bearer TOKEN.")
        row, user = tokens.find_token(studio(), token.strip())
        return Principal(user, "token", row.id, frozenset(row.scopes.split()))
    browser = browser_session()
    if browser.trouble:
        raise browser.trouble
    return Principal(browser.user, "session", browser.row_id) if browser.user else None


# ---- what a request must be like -------------------------------------------------------------------


def _begin() -> None:
    g.began = time.monotonic()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    request_id.set(g.request_id)
    user_id.set("")
    # a thread serves one request after the other: what the last one was about must not stay
    job = (request.view_args or {}).get("job_id", "")
    job_id.set(job if JOB_ID.fullmatch(job) else "")
    _check_host()
    _check_address()


def _guard() -> None:
    if request.endpoint in (None, "static") or request.endpoint in OPEN_TO_ALL:
        return
    g.principal = find_principal()
    user_id.set(g.principal.user.id if g.principal else "")
    if g.principal:
        scopes.check(g.principal.scopes, request.endpoint or "", request.method)
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "takes_upload", False):
        if request.method not in SAFE_METHODS:
            _check_storage(current_user())
        request.max_content_length = studio().settings.max_upload_bytes
        request.max_form_parts = 100_000
    if most_bytes := getattr(view, "takes_file", 0):
        current_user()
        request.max_content_length = most_bytes
    if request.method not in SAFE_METHODS:
        _check_not_forged()


def _check_storage(user: User) -> None:
    """Whoever has no room is told before the body is read, and while it is. Raises QuotaExceeded."""
    here = studio()
    with here.db.reading() as session:
        used = quotas.storage_used(session, user.id)
        allowed = quotas.storage_limit(session, here.settings, user.id)
    # what is around the files in a body of several parts is no part of them
    size = (request.content_length or 0) - MULTIPART_BYTES
    if request.mimetype == "multipart/form-data" and used + max(size, 1) > allowed:
        quotas.refuse_storage(used, allowed, max(size, 0))
    if isinstance(request, ReceivingRequest):
        request.allowance = Allowance(used, allowed)


# Asked every second by whatever watches the server: no look at who asks.
OPEN_TO_ALL = frozenset(
    {
        "health.healthz",
        "health.readyz",
        "api.health.healthz",
        "api.health.readyz",
        "metrics.show",  # looks for itself who asks
    }
)


def _check_not_forged() -> None:
    """A browser adds its cookie to requests of other sites too; a bearer token is only sent on purpose."""
    principal: Principal | None = g.principal
    if principal and principal.via == "token":
        return
    api = request.path.startswith("/api/")
    if api and principal is None:
        return  # the view answers 401
    if (origin := request.headers.get("Origin")) and not _is_own_origin(origin):
        raise NotThisWay()
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise NotThisWay()
    if api and request.mimetype not in API_BODY_TYPES:
        raise WrongMediaType()
    csrf.protect()


def _is_own_origin(origin: str) -> bool:
    own = {urlsplit(request.host_url).netloc}
    if studio().settings.public_url:
        own.add(urlsplit(studio().settings.public_url).netloc)
    return urlsplit(origin).netloc in own


def _check_host() -> None:
    """Links are made from the configured origin, and a name that was rebound to us gets nothing."""
    settings, host = studio().settings, _host_of(request.host)
    if _is_loopback(host):
        return
    if settings.public_url:
        known = host == urlsplit(settings.public_url).hostname
    else:
        known = not _is_loopback(settings.host) and _is_of_this_network(host)
    if not known:
        raise BadRequest("This server does not answer to that Host; see ATELIER_PUBLIC_URL.")


def _is_of_this_network(host: str) -> bool:
    """An address, this machine's name, or a name that nobody out there can point to us."""
    if "." not in host or host == socket.gethostname().lower() or host.endswith(LOCAL_SUFFIXES):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_address() -> None:
    """No id and no filter holds a NUL, and PostgreSQL takes none."""
    if "\0" in request.path:
        raise NotFound()
    if any("\0" in value for value in request.args.values()):
        raise BadRequest("The address holds a NUL character.")


def _host_of(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def is_local_only(settings: Settings) -> bool:
    """Whether this installation is meant for this machine alone."""
    public = urlsplit(settings.public_url).hostname or "localhost"
    return _is_loopback(settings.host) and _is_loopback(public)


def asks_from_here() -> bool:
    """Whether the request comes straight from this machine, through no proxy that says so."""
    forwarded = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
    return _is_loopback(request.remote_addr or "") and not any(
        name in request.headers for name in forwarded
    )


def _is_loopback(host: str) -> bool:
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if "request_id" in g:
        response.headers["X-Request-Id"] = g.request_id
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    if studio().settings.public_url.startswith("https://"):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def _log(response: Response) -> Response:
    """One line for a request: its rule, not its address, which may hold a one-time link."""
    if request.endpoint not in OPEN_TO_ALL | {"static"} and "began" in g:
        rule = request.url_rule.rule if request.url_rule else "-"
        milliseconds = (time.monotonic() - g.began) * 1000
        log.info("%s %s %d %.0f ms", request.method, rule, response.status_code, milliseconds)
    return response


# ---- before the server starts ----------------------------------------------------------------------


def check_bind(settings: Settings, has_admin: bool) -> None:
    """A public address needs somebody in charge and a real secret. Raises BadSettings."""
    if _is_loopback(settings.host):
        return
    if not has_admin:
        raise BadSettings(
            f"refusing to listen on {settings.host} while there is no administrator: "
            "create one first with `atelier user create NAME --admin`"
        )
    if len(settings.secret) < 32 or len(set(settings.secret)) < 8:
        raise BadSettings(f"refusing to listen on {settings.host} with a weak secret_key")
