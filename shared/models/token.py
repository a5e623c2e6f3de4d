"""A token for the API: a public prefix to find it, the SHA-256 of the secret to check it."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, MaybeTime, Time, UserId


class ApiToken(Base):
    __tablename__ = "token"

    id: Mapped[Id]
    user_id: Mapped[UserId]
    name: Mapped[str] = mapped_column(String(120))
    prefix: Mapped[str] = mapped_column(String(24), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(200), default="")  # empty: all that its owner may do
    created_at: Mapped[Time]
    expires_at: Mapped[MaybeTime]
    used_at: Mapped[MaybeTime]
    revoked_at: Mapped[MaybeTime]
