"""One sweep: what it removed, by class, and the free disk before and after, as measured."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, Id, MaybeObject, Object, Time


class Sweep(Base):
    __tablename__ = "sweep"

    id: Mapped[Id]
    why: Mapped[str] = mapped_column(String(16))  # hourly | disk | asked | rows
    removed: Mapped[Object]  # {class: {"rows", "files", "bytes"}}
    found: Mapped[MaybeObject]  # what lies on disk now, {class: {"files", "bytes"}}
    free_before: Mapped[Big]
    free_after: Mapped[Big]
    disk_bytes: Mapped[Big]
    started_at: Mapped[Time] = mapped_column(index=True)
    finished_at: Mapped[Time]
