"""A key that a caller chose for a submit, with what it answered."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Time


class IdempotencyKey(Base):
    __tablename__ = "idempotency_key"

    user_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(String(32))
    response: Mapped[str] = mapped_column()  # the JSON of the first 202, byte for byte
    created_at: Mapped[Time] = mapped_column(index=True)
