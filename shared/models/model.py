"""A trained model: a folder in storage that its owning library can load, and its card."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Big, Id, MaybeTime, Object, Sha256, Time, UserId


class Model(Base):
    __tablename__ = "model"

    id: Mapped[Id]
    user_id: Mapped[UserId]
    job_id: Mapped[str | None] = mapped_column(String(32), index=True)
    dataset_id: Mapped[str | None] = mapped_column(String(32), index=True)
    name: Mapped[str] = mapped_column(String(200))
    family: Mapped[str] = mapped_column(String(64))
    family_version: Mapped[int]
    visibility: Mapped[str] = mapped_column(String(16), default="private")
    # storage prefix of the folder, and {"model.safetensors": {"sha256": ..., "bytes": ...}, ...}
    location: Mapped[str] = mapped_column(String(255))
    files: Mapped[Object]
    sha256: Mapped[Sha256]  # over the sorted (file name, sha256) pairs
    bytes: Mapped[Big]
    generate_schema: Mapped[Object]  # the family's, narrowed to this model
    facts: Mapped[Object]  # what rules and costs need: context length, parameters, ...
    metrics: Mapped[Object] = mapped_column(default=dict)
    licence_note: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[Time]
    deleted_at: Mapped[MaybeTime]
