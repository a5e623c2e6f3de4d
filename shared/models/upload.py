"""A file that is being received piece by piece, and may be continued after any interruption (tus)."""

from __future__ import annotations

from sqlalchemy import Double, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, Id, Time, UserId


class Upload(Base):
    __tablename__ = "upload"

    id: Mapped[Id]
    user_id: Mapped[UserId]
    name: Mapped[str] = mapped_column(String(1000), default="")
    length: Mapped[Big]  # of the whole file, announced at the start and held from the quota
    offset: Mapped[Big] = mapped_column(default=0)  # bytes that are on disk for good
    fence: Mapped[int] = mapped_column(
        default=0
    )  # who continues raises it; who had it before stops
    created_at: Mapped[Time]
    expires_at: Mapped[float] = mapped_column(Double, index=True)
