"""Metrics of a training, many points in a row so that a row is written at most once a second."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Json, Time


class MetricPoint(Base):
    __tablename__ = "metric_point"

    job_id: Mapped[str] = mapped_column(String(32), ForeignKey("job.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_step: Mapped[int]
    last_step: Mapped[int]
    # [[step, seconds, {"loss": 1.2, ...}], ...]
    points: Mapped[list[list[object]]] = mapped_column(Json)
    at: Mapped[Time]
