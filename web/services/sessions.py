"""Signed-in browsers of a user: which there are, and ending one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from shared.db import clock
from shared.errors import NotFound
from shared.models import BrowserSession, User
from shared.moments import rfc3339
from web.services.studio import Studio

MOST_SHOWN = 50


def list_sessions(studio: Studio, user: User, current_id: str = "") -> list[dict[str, Any]]:
    """Those that can still be used, the last seen first."""
    with studio.db.reading() as session:
        rows = session.scalars(
            select(BrowserSession)
            .where(
                BrowserSession.user_id == user.id,
                BrowserSession.revoked_at.is_(None),
                BrowserSession.expires_at > clock(session),
            )
            .order_by(BrowserSession.seen_at.desc())
            .limit(MOST_SHOWN)
        )
        return [_shown(row, current_id) for row in rows]


def revoke_session(studio: Studio, user: User, session_id: str) -> None:
    """Raises NotFound, also for another user's session."""
    with studio.db.writing() as session:
        revoked = session.scalar(
            update(BrowserSession)
            .where(
                BrowserSession.id == session_id,
                BrowserSession.user_id == user.id,
                BrowserSession.revoked_at.is_(None),
            )
            .values(revoked_at=clock(session))
            .returning(BrowserSession.id)
        )
    if revoked is None:
        raise NotFound()


def revoke_others(studio: Studio, user: User, current_id: str) -> int:
    """All but the browser that asks; how many there were."""
    with studio.db.writing() as session:
        revoked = session.scalars(
            update(BrowserSession)
            .where(
                BrowserSession.user_id == user.id,
                BrowserSession.id != current_id,
                BrowserSession.revoked_at.is_(None),
                BrowserSession.expires_at > clock(session),
            )
            .values(revoked_at=clock(session))
            .returning(BrowserSession.id)
        ).all()
    return len(revoked)


def is_valid(studio: Studio, session_id: str) -> bool:
    """Whether a session that was let in before would be now."""
    with studio.db.reading() as session:
        found = session.scalar(
            select(BrowserSession.id)
            .join(User, User.id == BrowserSession.user_id)
            .where(
                BrowserSession.id == session_id,
                BrowserSession.revoked_at.is_(None),
                BrowserSession.expires_at > clock(session),
                User.active,
            )
        )
    return found is not None


def _shown(row: BrowserSession, current_id: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "agent": row.agent,
        "address": row.address,
        "created_at": rfc3339(row.created_at),
        "seen_at": rfc3339(row.seen_at),
        "current": row.id == current_id,
    }
