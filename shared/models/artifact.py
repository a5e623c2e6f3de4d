"""One generated file."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, Id, MaybeTime, Object, Sha256, Time, UserId

HELD = text("deleted_at IS NULL")
IN_GALLERY = text("deleted_at IS NULL AND role IN ('output', 'grid')")
SHARED = text("deleted_at IS NULL AND visibility = 'shared'")


class Artifact(Base):
    __tablename__ = "artifact"
    # a user's stored bytes are summed at each submit, from this index alone
    __table_args__ = (
        Index("ix_artifact_held", "user_id", "bytes", sqlite_where=HELD, postgresql_where=HELD),
        # the gallery: somebody's results, and what everybody shares, newest first
        Index(
            "ix_artifact_gallery",
            "user_id",
            "id",
            sqlite_where=IN_GALLERY,
            postgresql_where=IN_GALLERY,
        ),
        Index("ix_artifact_shared", "id", sqlite_where=SHARED, postgresql_where=SHARED),
    )

    id: Mapped[Id]
    job_id: Mapped[str] = mapped_column(String(32), ForeignKey("job.id"), index=True)
    user_id: Mapped[UserId]
    index: Mapped[int]
    role: Mapped[str] = mapped_column(
        String(16), default="output"
    )  # output | grid | preview | thumbnail
    name: Mapped[str] = mapped_column(String(255))
    media_type: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[Big]
    sha256: Mapped[Sha256]
    visibility: Mapped[str] = mapped_column(String(16), default="private")  # private | shared
    location: Mapped[str] = mapped_column(String(255), unique=True)  # storage key; holds the fence
    seed: Mapped[Big]
    metrics: Mapped[Object] = mapped_column(default=dict)
    label: Mapped[Object] = mapped_column(default=dict)
    created_at: Mapped[Time]
    deleted_at: Mapped[MaybeTime]
