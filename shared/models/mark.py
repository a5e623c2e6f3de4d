"""What a person notes on a result for himself: a star, or a tag. Of no concern to anybody else, its owner included."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Time

STAR = ""  # the name that no tag can have


class Mark(Base):
    __tablename__ = "mark"

    # in this order the key is also the list of what somebody has tagged so, newest last
    user_id: Mapped[str] = mapped_column(String(32), ForeignKey("user.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    artifact_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("artifact.id"), primary_key=True, index=True
    )
    created_at: Mapped[Time]
