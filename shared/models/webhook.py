"""An address of a user's that is told when his jobs end."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, MaybeTime, Time, UserId


class Webhook(Base):
    __tablename__ = "webhook"

    id: Mapped[Id]
    user_id: Mapped[UserId]
    name: Mapped[str] = mapped_column(String(200))
    url: Mapped[str] = mapped_column(Text)  # its path may be a secret; logs and the audit have none
    events: Mapped[str] = mapped_column(String(200))  # "job.failed job.succeeded"
    # both sign while the second holds: whoever receives can change over in peace
    secret: Mapped[str] = mapped_column(String(120))
    old_secret: Mapped[str] = mapped_column(String(120), default="")
    old_secret_until: Mapped[MaybeTime]
    enabled: Mapped[bool] = mapped_column(default=True)
    stopped_why: Mapped[str] = mapped_column(String(16), default="")  # gone | failing; by ourselves
    failing_since: Mapped[MaybeTime]  # nothing arrived since
    created_at: Mapped[Time]
