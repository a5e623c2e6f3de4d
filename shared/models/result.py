"""The one visible result of a job; the primary key is what makes it one."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Object, Time


class Result(Base):
    __tablename__ = "result"

    job_id: Mapped[str] = mapped_column(String(32), ForeignKey("job.id"), primary_key=True)
    fence: Mapped[int]
    model_id: Mapped[str | None] = mapped_column(String(32), index=True)
    metrics: Mapped[Object] = mapped_column(default=dict)
    build: Mapped[Object] = mapped_column(default=dict)  # versions that really ran
    created_at: Mapped[Time]
