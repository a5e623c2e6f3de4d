"""Who did what to whom, and when. Rows are added and never changed."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, Object, Time


class AuditEntry(Base):
    __tablename__ = "audit"

    id: Mapped[Id]
    at: Mapped[Time] = mapped_column(index=True)
    # no foreign keys: an entry outlives what it tells of; NULL is the command line or a stranger
    actor_id: Mapped[str | None] = mapped_column(String(32), index=True)
    actor_name: Mapped[str] = mapped_column(String(64), default="")
    action: Mapped[str] = mapped_column(String(32), index=True)
    subject_type: Mapped[str] = mapped_column(String(16), default="")
    subject_id: Mapped[str] = mapped_column(String(32), default="", index=True)
    subject_name: Mapped[str] = mapped_column(String(200), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    facts: Mapped[Object] = mapped_column(default=dict)
