"""A snapshot of a training that a later attempt can continue from."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, Id, Sha256, Time


class Checkpoint(Base):
    __tablename__ = "checkpoint"
    __table_args__ = (Index("ix_checkpoint_job_step", "job_id", "step"),)

    id: Mapped[Id]
    job_id: Mapped[str] = mapped_column(String(32), ForeignKey("job.id"))
    fence: Mapped[int]
    step: Mapped[int]
    location: Mapped[str] = mapped_column(String(255), unique=True)  # one file
    sha256: Mapped[Sha256]
    bytes: Mapped[Big]
    score: Mapped[float | None]  # the best so far at this step; lower is better
    created_at: Mapped[Time]
