"""API tokens: `atelier_<id>_<secret>`, shown once, kept as SHA-256, with an expiry, revocable."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import SQLAlchemyError

from shared.db import NOW, Database, clock
from shared.errors import InvalidInput, NotFound, NotSignedIn
from shared.ids import new_id
from shared.models import ApiToken, User
from shared.moments import rfc3339
from web.hashing import hash_of
from web.services import audit
from web.services.studio import Studio

TOKEN = re.compile(r"(atelier_[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
DAY = 86_400
USED_SECONDS = 300.0
# Asked by every request, so it is put together once. Nothing of the answer is kept: a token that is revoked and a user
# who is deactivated are refused from the next request on.
BY_PREFIX = (
    select(ApiToken, User, NOW)
    .join(User, User.id == ApiToken.user_id)
    .where(ApiToken.prefix == bindparam("prefix"), ApiToken.revoked_at.is_(None), User.active)
)

log = logging.getLogger(__name__)


def issue_token(
    db: Database,
    user: User,
    name: str,
    expires_days: int | None = None,
    scopes: Sequence[str] = (),
) -> dict[str, Any]:
    """A new token as the API shows it, with the secret in `token`: it cannot be read again.

    Without scopes it may do all that its owner may. Raises InvalidInput for a scope that he does not have.
    """
    if "admin" in scopes and user.role != "admin":
        message = "admin is for administrators"
        raise InvalidInput(errors=[{"pointer": "/scopes", "message": message}])
    prefix = f"atelier_{secrets.token_hex(6)}"
    token = f"{prefix}_{secrets.token_urlsafe(32)}"
    with db.writing() as session:
        at = clock(session)
        row = ApiToken(
            id=new_id(),
            user_id=user.id,
            name=name,
            prefix=prefix,
            sha256=hash_of(token),
            scopes=" ".join(sorted(set(scopes))),
            created_at=at,
            expires_at=at + expires_days * DAY if expires_days else None,
        )
        session.add(row)
        audit.record(session, "token_made", user, row, scopes=row.scopes)
    return {**_shown(row), "token": token}


def list_tokens(studio: Studio, user: User) -> list[dict[str, Any]]:
    with studio.db.reading() as session:
        rows = session.scalars(
            select(ApiToken)
            .where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
            .order_by(ApiToken.id.desc())
        )
        return [_shown(row) for row in rows]


def revoke_token(studio: Studio, user: User, token_id: str) -> None:
    """Raises NotFound, also for another user's token."""
    with studio.db.writing() as session:
        row = session.scalar(
            update(ApiToken)
            .where(
                ApiToken.id == token_id,
                ApiToken.user_id == user.id,
                ApiToken.revoked_at.is_(None),
            )
            .values(revoked_at=clock(session))
            .returning(ApiToken)
        )
        if row is None:
            raise NotFound()
        audit.record(session, "token_revoked", user, row)


def is_valid(studio: Studio, token_id: str) -> bool:
    """Whether a token that was let in before would be now."""
    with studio.db.reading() as session:
        found = session.scalar(
            select(ApiToken.id)
            .join(User, User.id == ApiToken.user_id)
            .where(
                ApiToken.id == token_id,
                ApiToken.revoked_at.is_(None),
                ApiToken.expires_at.is_(None) | (ApiToken.expires_at > clock(session)),
                User.active,
            )
        )
    return found is not None


def find_token(studio: Studio, token: str) -> tuple[ApiToken, User]:
    """The token and whose it is. Raises NotSignedIn."""
    form = TOKEN.fullmatch(token)
    if form is None:
        raise NotSignedIn("This is not a valid token.")
    with studio.db.glancing() as session:
        found = session.execute(BY_PREFIX, {"prefix": form[1]}).one_or_none()
    if found is None or not hmac.compare_digest(found[0].sha256, hash_of(token)):
        raise NotSignedIn("This is not a valid token.")
    row, user, at = found
    if row.expires_at is not None and row.expires_at < at:
        raise NotSignedIn("This token has expired.")
    if (row.used_at or 0.0) < at - USED_SECONDS:
        _mark_used(studio, row.id)
    return row, user


def _mark_used(studio: Studio, token_id: str) -> None:
    try:
        with studio.db.writing() as session:
            session.execute(update(ApiToken).where(ApiToken.id == token_id).values(used_at=NOW))
    except SQLAlchemyError as error:
        # a request that only reads must not fail because somebody else writes
        log.info("used_at not written: %s", type(error).__name__)


def _shown(row: ApiToken) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "prefix": row.prefix,
        "scopes": row.scopes.split(),
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "used_at": rfc3339(row.used_at),
    }
