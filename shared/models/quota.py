"""What one user may hold, and holds: the row that a submit locks."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import MaybeBig, MaybeTime


class Quota(Base):
    __tablename__ = "quota"

    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("user.id"), primary_key=True)
    # NULL means the installation's default; what is used is counted, never kept, so it cannot drift
    max_queued_jobs: Mapped[int | None]
    max_running_jobs: Mapped[int | None]
    max_storage_bytes: Mapped[MaybeBig]
    max_device_seconds_a_day: Mapped[MaybeTime]
