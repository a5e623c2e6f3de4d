"""What a token with scopes may call: each route of the API by its noun and method. The one place for this rule.

A token without scopes may do all that its owner may. What is not listed here, every page included, takes only such a
token; a test walks the routes and asks for each to be listed.
"""

from __future__ import annotations

from shared.errors import Forbidden

READING = frozenset({"GET", "HEAD", "OPTIONS"})
ANY = ""  # every token: what says nothing that is not public to all users here
WHOLE = "a token without scopes"
ADMIN = "admin"

# blueprint of web/api -> noun of the scope
NOUNS = {
    "jobs": "jobs",
    "events": "jobs",
    "ended": "jobs",
    "checkpoints": "jobs",
    "artifacts": "jobs",
    "archives": "jobs",
    "queue": "jobs",
    "datasets": "datasets",
    "uploads": "datasets",
    "models": "models",
    "users": ADMIN,
    "invitations": ADMIN,
    "audit": ADMIN,
    "storage": ADMIN,
    "workers": ADMIN,
    "families": ANY,
    "documents": ANY,
    "health": ANY,
    "webhooks": WHOLE,  # a narrow token must not have told what it may not ask
    "me": WHOLE,  # a narrow token must not make itself a wider one
}
# single routes that are not as the rest of their blueprint
ROUTES = {
    "api.me.show": ANY,
    "api.archives.artifacts": "jobs:read",  # a POST that only reads
    "api.archives.model": "models:read",
    "api.archives.dataset": "datasets:read",
}


def needed(endpoint: str, method: str) -> str | None:
    """The scope that a call needs, ANY, WHOLE, or None for a route that nobody has classified."""
    if endpoint in ROUTES:
        return ROUTES[endpoint]
    where, _, rest = endpoint.partition(".")
    if where != "api":
        return WHOLE
    noun = NOUNS.get(rest.partition(".")[0])
    if noun in (None, ANY, WHOLE, ADMIN):
        return noun
    return f"{noun}:{'read' if method in READING else 'write'}"


def check(held: frozenset[str], endpoint: str, method: str) -> None:
    """Raises Forbidden, with the name of the scope that is missing."""
    if not held:
        return
    scope = needed(endpoint, method)
    if scope == ANY or scope in held:
        return
    if scope in (None, WHOLE):
        raise Forbidden(f"This needs {WHOLE}; this one has only {', '.join(sorted(held))}.")
    raise Forbidden(f"This token lacks the scope {scope}.")
