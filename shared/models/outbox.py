"""What the outside is owed of a state change: one message for each webhook, written in its transaction."""

from __future__ import annotations

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, MaybeTime, Object, Time


class OutboxMessage(Base):
    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_due", "webhook_id", "state", "due_at"),)

    id: Mapped[Id]
    topic: Mapped[str] = mapped_column(String(64))  # job.succeeded, job.failed, job.cancelled, …
    user_id: Mapped[str] = mapped_column(String(32), index=True)
    # No foreign key: that somebody deletes a webhook is no reason for a job not to end. None of a worker before 0009.
    webhook_id: Mapped[str | None] = mapped_column(String(32))
    job_id: Mapped[str | None] = mapped_column(String(32))
    payload: Mapped[Object]
    created_at: Mapped[Time] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(16), server_default="pending")  # pending|sent|failed
    fence: Mapped[int] = mapped_column(server_default="0")
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[
        MaybeTime
    ]  # while it is being sent: when it is due if nobody writes how that went
    lease_until: Mapped[MaybeTime] = mapped_column(index=True)  # it is in flight until then
    # of the last attempt
    status: Mapped[int | None]
    error: Mapped[str] = mapped_column(String(16), server_default="")
    sent_at: Mapped[MaybeTime]
