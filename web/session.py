"""Browser sessions as rows: the cookie holds a random value, the row's id is its SHA-256, and a row can be revoked."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import SessionInterface, SessionMixin
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.datastructures import CallbackDict

from shared.config import Settings
from shared.db import Database, clock
from shared.models import BrowserSession, User
from web.hashing import hash_of

# A visitor who has not signed in has a session for the CSRF token of the sign-in form only.
ANONYMOUS_SECONDS = 3600.0
SEEN_SECONDS = 300.0
LONGEST_COOKIE = 128

log = logging.getLogger(__name__)


class SqlSession(CallbackDict[str, Any], SessionMixin):
    """`flask.session`: the row's data, and whose session it is."""

    modified = False

    def __init__(
        self, data: Mapping[str, Any] | None = None, row_id: str = "", user: User | None = None
    ) -> None:
        def changed(session: CallbackDict[str, Any]) -> None:
            session.modified = True  # type: ignore[attr-defined]

        super().__init__(data, changed)
        self.row_id = row_id
        self.user = user
        self.new_user: User | None = None
        self.ended = False
        self.trouble: SQLAlchemyError | None = None

    def begin_for(self, user: User) -> None:
        """Signs in: the old row dies and the cookie gets a new value (no fixation)."""
        self.clear()
        self.user, self.new_user, self.ended = user, user, False

    def end(self) -> None:
        """Signs out: the row is revoked and the cookie goes."""
        self.clear()
        self.user, self.new_user, self.ended = None, None, True


def cookie_name(settings: Settings) -> str:
    return "__Host-atelier" if settings.public_url.startswith("https://") else "atelier"


class SqlSessions(SessionInterface):
    """Reads and writes the rows; Flask calls it around each request."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._cookie = cookie_name(settings)

    def open_session(self, app: Flask, request: Request) -> SqlSession:
        secret = request.cookies.get(self._cookie, "")
        bare = request.path.startswith("/static/") or "Authorization" in request.headers
        if not secret or len(secret) > LONGEST_COOKIE or bare:
            return SqlSession()
        try:
            found = self._find(hash_of(secret))
            # an empty session is false, and a signed-in one may be empty
            return found if found is not None else SqlSession()
        except SQLAlchemyError as error:
            # raised later, where errors become answers (web/security.py)
            unreadable = SqlSession()
            unreadable.trouble = error
            return unreadable

    def _find(self, row_id: str) -> SqlSession | None:
        with self._db.reading() as session:
            at = clock(session)
            row = session.get(BrowserSession, row_id)
            if row is None or row.revoked_at or row.expires_at < at:
                return None
            user = session.get(User, row.user_id) if row.user_id else None
        if row.user_id and (user is None or not user.active):
            return None
        if row.user_id and row.seen_at < at - SEEN_SECONDS:
            self._mark_seen(row_id)
        return SqlSession(row.data, row_id, user)

    def _mark_seen(self, row_id: str) -> None:
        try:
            with self._db.writing() as session:
                session.execute(
                    update(BrowserSession)
                    .where(BrowserSession.id == row_id)
                    .values(seen_at=clock(session))
                )
        except SQLAlchemyError as error:
            # a request that only reads must not fail because somebody else writes
            log.info("seen_at not written: %s", type(error).__name__)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        assert isinstance(session, SqlSession)
        if session.accessed or session.row_id:
            response.vary.add("Cookie")
        if session.ended:
            self._revoke(session.row_id)
            response.delete_cookie(self._cookie, **self._attributes())
        elif session.new_user or (session.modified and not session.row_id):
            self._insert(session, response)
        elif session.modified:
            with self._db.writing() as rows:
                rows.execute(
                    update(BrowserSession)
                    .where(BrowserSession.id == session.row_id)
                    .values(data=dict(session))
                )

    def _insert(self, session: SqlSession, response: Response) -> None:
        secret = secrets.token_urlsafe(32)
        seconds = self._settings.session_seconds if session.user else ANONYMOUS_SECONDS
        with self._db.writing() as rows:
            at = clock(rows)
            if session.row_id:
                _revoke_row(rows, session.row_id, at)
            rows.add(
                BrowserSession(
                    id=hash_of(secret),
                    user_id=session.user.id if session.user else None,
                    data=dict(session),
                    created_at=at,
                    seen_at=at,
                    expires_at=at + seconds,
                    address=(request.remote_addr or "")[:64],
                    agent=request.user_agent.string[:256],
                )
            )
        response.set_cookie(
            self._cookie, secret, max_age=int(seconds), httponly=True, **self._attributes()
        )

    def _revoke(self, row_id: str) -> None:
        if row_id:
            with self._db.writing() as rows:
                _revoke_row(rows, row_id, clock(rows))

    def _attributes(self) -> dict[str, Any]:
        secure = self._settings.public_url.startswith("https://")
        return {"path": "/", "samesite": "Lax", "secure": secure}


def _revoke_row(rows: Session, row_id: str, at: float) -> None:
    rows.execute(
        update(BrowserSession)
        .where(BrowserSession.id == row_id, BrowserSession.revoked_at.is_(None))
        .values(revoked_at=at)
    )
