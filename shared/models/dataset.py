"""A checked, immutable set of items; its bytes lie in storage as one packed file with a manifest."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, Id, MaybeTime, Object, Sha256, Time, UserId


class Dataset(Base):
    __tablename__ = "dataset"

    id: Mapped[Id]
    user_id: Mapped[UserId]
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(16), default="")  # text | images; empty while unknown
    state: Mapped[str] = mapped_column(String(16))  # checking | ready | refused
    visibility: Mapped[str] = mapped_column(String(16), default="private")  # private | shared
    source: Mapped[str] = mapped_column(String(200), default="")  # "sample:digits" or "upload"
    item_count: Mapped[int] = mapped_column(default=0)
    bytes: Mapped[Big] = mapped_column(default=0)
    sha256: Mapped[Sha256] = mapped_column(default="")  # of the manifest, so of every item in order
    # what rules, costs and forms need: items, characters, labels, width, height, channels, ...
    facts: Mapped[Object] = mapped_column(default=dict)
    # {"files": [{"name": ..., "message": ...}]}
    problems: Mapped[Object] = mapped_column(default=dict)
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[Time]
    deleted_at: Mapped[MaybeTime]
