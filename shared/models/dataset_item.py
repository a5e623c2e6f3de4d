"""One text or image of a dataset: where its bytes lie in the packed file."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, MaybeObject, Sha256


class DatasetItem(Base):
    __tablename__ = "dataset_item"

    dataset_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True
    )
    n: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[Sha256] = mapped_column(index=True)
    media_type: Mapped[str] = mapped_column(String(64))
    offset: Mapped[Big]
    bytes: Mapped[Big]
    label: Mapped[str | None] = mapped_column(String(120))
    caption: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[MaybeObject]  # width, height or characters
