"""A person with an account."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, MaybeTime, Time


class User(Base):
    __tablename__ = "user"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    # argon2id; empty until the person has chosen a password
    password_hash: Mapped[str] = mapped_column(String(256), default="")
    role: Mapped[str] = mapped_column(String(16), default="user")  # user | admin
    active: Mapped[bool] = mapped_column(default=True)
    language: Mapped[str] = mapped_column(String(16), default="")
    # SHA-256 of a one-time link that sets the password (first run, invitation, reset)
    link_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    link_until: Mapped[MaybeTime]
    created_at: Mapped[Time]
