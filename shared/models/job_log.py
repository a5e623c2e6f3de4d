"""The log of a job, in pieces; capped by the one who appends."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Time


class JobLog(Base):
    __tablename__ = "job_log"

    job_id: Mapped[str] = mapped_column(String(32), ForeignKey("job.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[Time]
    text: Mapped[str] = mapped_column(Text)
