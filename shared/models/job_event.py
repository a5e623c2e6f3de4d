"""What happened to a job. n is the job's version after the change, so it has no gaps in order."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Object, Time


class JobEvent(Base):
    __tablename__ = "job_event"

    job_id: Mapped[str] = mapped_column(String(32), ForeignKey("job.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(16))  # state|progress|metrics|preview|log|result
    at: Mapped[Time]
    data: Mapped[Object]
