"""Ordinary short work for the cpu worker (dataset checks, sweeps): a row with a state and a lease, like a job."""

from __future__ import annotations

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, MaybeTime, Object, Time


class ShortTask(Base):
    __tablename__ = "short_task"
    __table_args__ = (Index("ix_short_task_due", "state", "not_before"),)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(64))  # check_dataset | sweep
    # makes periodic work happen once: "sweep:1764000000"
    slot: Mapped[str | None] = mapped_column(String(120), unique=True)
    arguments: Mapped[Object]
    state: Mapped[str] = mapped_column(String(16), default="queued")  # queued|running|done|failed
    fence: Mapped[int] = mapped_column(default=0)
    strikes: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[MaybeTime]
    lease_until: Mapped[MaybeTime]
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[Time]
    finished_at: Mapped[MaybeTime]
