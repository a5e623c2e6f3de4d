"""A browser without JavaScript: follows links and sends the forms that pages hold, with their CSRF token."""

from __future__ import annotations

import re
import secrets
from html.parser import HTMLParser
from typing import Any

from shared.db import clock
from shared.models import BrowserSession
from web.hashing import hash_of

COOKIE = "atelier"
PLAIN_PAGES = [
    "/",
    "/results",
    "/datasets",
    "/train",
    "/train/toy",
    "/models",
    "/jobs",
    "/queue",
    "/account",
    "/account/webhooks",
    "/help",
    "/help/toy",
]


def own_pages(things):
    return [
        f"/datasets/{things['dataset']}",
        f"/models/{things['model']}",
        f"/generate/{things['model']}",
        f"/jobs/{things['job']}",
        f"/jobs/{things['job']}/log",
        f"/artifacts/{things['artifact']}",
        f"/account/webhooks/{things['webhook']}",
    ]


class Page(HTMLParser):
    """The parts of a page that tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._errors: dict[str, str] = {}
        self._error_of = ""
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if "wrong" in (found.get("class") or "").split():
            self._error_of = (found.get("id") or "").removesuffix("-error")
            self._error_of = re.sub("^([fp]|new)-", "", self._error_of)

    def handle_endtag(self, tag: str) -> None:
        self._error_of = ""

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._error_of:
            self._errors[self._error_of] = data

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by field."""
        return self._errors

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.tags
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]

    def field(self, name: str) -> dict[str, str | None]:
        for tag in ("input", "select", "textarea"):
            if found := self.all(tag, name=name):
                return found[-1]
        raise AssertionError(f"no field {name}")


class Browser:
    """A test client with a session of its own."""

    def __init__(self, app, user=None) -> None:
        self.app = app
        self.client = app.test_client()
        if user:
            self._sign_in(user)

    def _sign_in(self, user) -> None:
        """A session row as signing in leaves it, without the second that argon2 takes."""
        secret = secrets.token_urlsafe(32)
        with self.app.extensions["atelier"].db.writing() as session:
            at = clock(session)
            session.add(
                BrowserSession(
                    id=hash_of(secret),
                    user_id=user.id,
                    data={},
                    created_at=at,
                    seen_at=at,
                    expires_at=at + 3600,
                    agent="test browser",
                    address="127.0.0.1",
                )
            )
        self.client.set_cookie(COOKIE, secret)

    def get(self, path: str) -> Any:
        return self.client.get(path, headers={"Accept": "text/html"})

    def page(self, path: str) -> Page:
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:2000])
        return Page(answer.text)

    def token(self, path: str = "/account") -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        assert found, path
        return found[1]

    def post(self, path: str, form: dict[str, Any] | None = None, page: str = "/account") -> Any:
        values = {"csrf_token": self.token(page), **(form or {})}
        return self.client.post(path, data=values, headers={"Accept": "text/html"})

    def says(self) -> str:
        """The flashed message that the next page shows."""
        found = re.findall(
            r'<div class="notice[^"]*" role="[a-z]+">([^<]*)</div>', self.get("/").text
        )
        return " ".join(found)
