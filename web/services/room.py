"""Whether there is room for more bytes: on the disk, and in what their owner may hold."""

from __future__ import annotations

import time

from sqlalchemy.orm import Session

from shared import disk, quotas
from shared.db import lock_rows
from shared.errors import StorageFull
from shared.models import User
from web.services.studio import Studio

AMPLE_BYTES = 1 << 30
AMPLE_SECONDS = 10.0


def check_disk(studio: Studio) -> None:
    """Raises StorageFull."""
    if disk.usage(studio.settings)["free_percent"] < studio.settings.disk_low_percent:
        raise StorageFull()


def check_held(session: Session, studio: Studio, user: User) -> None:
    """Whether the user may make more. Raises QuotaExceeded.

    Of who has ample room it is asked anew every ten seconds only: the sum is over all that he ever made, and a submit
    brings no bytes yet.
    """
    limit = quotas.storage_limit(session, studio.settings, user.id)
    until, of = studio.ample.get(user.id, (0.0, 0))
    if of == limit and until > time.monotonic():
        return
    left = quotas.check_storage(session, studio.settings, user.id)
    if left > AMPLE_BYTES:
        studio.ample[user.id] = time.monotonic() + AMPLE_SECONDS, limit


def check_quota(session: Session, studio: Studio, user: User, size: int) -> None:
    """Raises QuotaExceeded."""
    if lock_rows(session):
        # two uploads at once must not both take the last room
        session.execute(quotas.OWN, {"user_id": user.id})
    quotas.check_storage(session, studio.settings, user.id, size)
