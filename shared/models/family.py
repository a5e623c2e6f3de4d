"""A model family as some worker announced it; the web process knows families only from here."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Object, Time


class FamilyRow(Base):
    __tablename__ = "family"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    # worker.family.Family.announcement(): title, summary, modality, dataset_kind, accepts, actions,
    # rules, cost, batch_by
    announcement: Mapped[Object]
    announced_at: Mapped[Time]
