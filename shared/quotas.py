"""What a user holds in storage and may hold. Counted when it is asked for, never kept, so it cannot drift."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.config import Settings
from shared.models import Artifact, Dataset, Model, Quota, Upload


def storage_used(session: Session, user_id: str) -> int:
    """Bytes of everything the user has not deleted; uploads count from their first moment."""
    total = 0
    for table in (Artifact, Dataset, Model):
        held = select(func.coalesce(func.sum(table.bytes), 0)).where(
            table.user_id == user_id, table.deleted_at.is_(None)
        )
        total += int(session.scalar(held) or 0)
    # what is still being received was promised its whole length
    promised = select(func.coalesce(func.sum(Upload.length), 0)).where(Upload.user_id == user_id)
    return total + int(session.scalar(promised) or 0)


def storage_limit(session: Session, settings: Settings, user_id: str) -> int:
    quota = session.get(Quota, user_id)
    limit = quota.max_storage_bytes if quota else None
    return settings.max_storage_bytes if limit is None else limit


def storage_left(session: Session, settings: Settings, user_id: str) -> int:
    limit = storage_limit(session, settings, user_id)
    return max(0, limit - storage_used(session, user_id))
