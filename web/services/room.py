"""Whether there is room for more bytes: on the disk, and in what their owner may hold."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import disk, quotas
from shared.db import lock_rows
from shared.errors import StorageFull
from shared.models import Quota, User
from web.services.studio import Studio


def check_disk(studio: Studio) -> None:
    """Raises StorageFull."""
    if disk.usage(studio.settings)["free_percent"] < studio.settings.disk_low_percent:
        raise StorageFull()


def check_quota(session: Session, studio: Studio, user: User, size: int) -> None:
    """Raises QuotaExceeded."""
    if lock_rows(session):
        # two uploads at once must not both take the last room
        session.execute(select(Quota).where(Quota.user_id == user.id).with_for_update())
    quotas.check_storage(session, studio.settings, user.id, size)
