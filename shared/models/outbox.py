"""Messages to the outside that a state change owes (webhooks, notices), written in its transaction."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, MaybeTime, Object, Time


class OutboxMessage(Base):
    __tablename__ = "outbox"

    id: Mapped[Id]
    topic: Mapped[str] = mapped_column(String(64))  # job.succeeded, job.failed, job.cancelled
    user_id: Mapped[str] = mapped_column(String(32), index=True)
    job_id: Mapped[str | None] = mapped_column(String(32))
    payload: Mapped[Object]
    created_at: Mapped[Time] = mapped_column(index=True)
    sent_at: Mapped[MaybeTime]
