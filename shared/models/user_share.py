"""A user's place in fair sharing: virtual time in device-seconds divided by weight (start-time fair queuing)."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Time


class UserShare(Base):
    __tablename__ = "user_share"

    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("user.id"), primary_key=True)
    vtime: Mapped[Time] = mapped_column(default=0.0, index=True)
    weight: Mapped[float] = mapped_column(default=1.0)
    device_seconds: Mapped[Time] = mapped_column(default=0.0)
