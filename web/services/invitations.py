"""Sign-up: invitations that administrators hand out, and joining with one, or without where sign-up is open."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, and_, select, update

from shared.db import clock
from shared.errors import Conflict, NotFound
from shared.models import Invitation, User
from shared.moments import rfc3339
from web.hashing import hash_of
from web.requests_people import InvitationRequest
from web.services import accounts, audit
from web.services.job_lists import Page
from web.services.studio import Studio

DAY = 86_400
GONE = "This invitation was used up, taken back, or is too old."


def invite(
    studio: Studio, admin: User | None, asked: InvitationRequest
) -> tuple[dict[str, Any], str]:
    """(the invitation, the path of its link, which cannot be read again). Raises Conflict while sign-up is closed."""
    if studio.settings.sign_up == "closed":
        raise Conflict(
            "Sign-up is closed here; ATELIER_SIGN_UP=invite lets people join by invitation."
        )
    token = secrets.token_urlsafe(32)
    with studio.db.writing() as session:
        at = clock(session)
        row = Invitation(
            sha256=hash_of(token),
            note=asked.note,
            created_by=admin.id if admin else None,
            uses=asked.uses,
            used=0,
            created_at=at,
            expires_at=at + asked.expires_days * DAY,
        )
        session.add(row)
        session.flush()
        audit.record(session, "invitation_made", admin, row, uses=row.uses)
    return _shown(row), f"/join/{token}"


def list_invitations(studio: Studio, page: Page | None = None) -> dict[str, Any]:
    """Those that were not taken back, the newest first."""
    page = page or Page()
    query = select(Invitation).where(Invitation.revoked_at.is_(None))
    if page.after:
        query = query.where(Invitation.id < page.after)
    with studio.db.reading() as session:
        rows = session.scalars(query.order_by(Invitation.id.desc()).limit(page.size + 1)).all()
    items = [_shown(row) for row in rows[: page.size]]
    return {"items": items, "next": items[-1]["id"] if len(rows) > page.size else None}


def revoke(studio: Studio, admin: User | None, invitation_id: str) -> None:
    """Raises NotFound."""
    with studio.db.writing() as session:
        row = session.scalar(
            update(Invitation)
            .where(Invitation.id == invitation_id, Invitation.revoked_at.is_(None))
            .values(revoked_at=clock(session))
            .returning(Invitation)
        )
        if row is None:
            raise NotFound()
        audit.record(session, "invitation_revoked", admin, row)


def check_open(studio: Studio, token: str | None) -> None:
    """Whether somebody may join with this invitation, or with none. Raises NotFound."""
    sign_up = studio.settings.sign_up
    if sign_up == "closed" or (token is None and sign_up != "open"):
        raise NotFound()
    if token is not None:
        with studio.db.reading() as session:
            usable = select(Invitation.id).where(_usable(token, clock(session)))
            if session.scalar(usable) is None:
                raise NotFound(GONE)


def join(studio: Studio, token: str | None, name: str, password: str, address: str) -> User:
    """A new account with a password; the caller starts the browser's session.

    Raises NotFound, InvalidInput, Conflict when the name is taken, TooManyRequests.
    """
    studio.throttle.joining(address)
    check_open(studio, token)
    accounts.check_name(name)
    # before anything is looked up, so that a taken name takes as long as a free one
    hashed = accounts.hash_new_password(password)
    with accounts.name_may_be_taken(name), studio.db.writing() as session:
        invitation = None
        if token is not None:
            # of two at the same moment the second waits here, and then finds it used up
            invitation = session.scalar(
                update(Invitation)
                .where(_usable(token, clock(session)))
                .values(used=Invitation.used + 1)
                .returning(Invitation)
            )
            if invitation is None:
                raise NotFound(GONE)
        user = accounts.add_user(session, name, admin=False)
        user.password_hash = hashed
        session.flush()
        by = {"invitation_id": invitation.id} if invitation else {}
        audit.record(session, "sign_up", user, user, address=address, **by)
    return user


def _usable(token: str, at: float) -> ColumnElement[bool]:
    return and_(
        Invitation.sha256 == hash_of(token),
        Invitation.used < Invitation.uses,
        Invitation.revoked_at.is_(None),
        Invitation.expires_at > at,
    )


def _shown(row: Invitation) -> dict[str, Any]:
    return {
        "id": row.id,
        "note": row.note,
        "uses": row.uses,
        "used": row.used,
        "created_by": row.created_by,
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
    }
