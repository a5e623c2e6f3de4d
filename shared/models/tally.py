"""A number that only grows (strikes, lost leases, bytes swept), or the last measure of one; for /metrics."""

from __future__ import annotations

from sqlalchemy import Double, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base


class Tally(Base):
    __tablename__ = "tally"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[float] = mapped_column(Double)
