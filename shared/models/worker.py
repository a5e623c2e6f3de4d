"""One device worker or cpu worker, with its heartbeat."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import MaybeTime, Object, Time


class Worker(Base):
    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # device | cpu
    host: Mapped[str] = mapped_column(String(120), default="")
    pid: Mapped[int] = mapped_column(default=0)
    device: Mapped[str] = mapped_column(String(120), default="")
    families: Mapped[Object]  # {"vae": 1, ...}: the versions it can run
    facts: Mapped[Object]  # device name, memory, threads, speed, library versions
    state: Mapped[str] = mapped_column(
        String(16), default="starting"
    )  # starting|ready|draining|gone
    drain_requested_at: Mapped[MaybeTime]
    started_at: Mapped[Time]
    heartbeat_at: Mapped[Time] = mapped_column(index=True)
