"""A signed-in browser; the row is what makes a session revocable."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import MaybeTime, Object, Time


class BrowserSession(Base):
    __tablename__ = "session"

    # SHA-256 of the value in the cookie
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str | None] = mapped_column(String(32), index=True)
    data: Mapped[Object]  # the CSRF token and flashed messages
    created_at: Mapped[Time]
    seen_at: Mapped[Time]
    expires_at: Mapped[Time] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(256), default="")
    revoked_at: Mapped[MaybeTime]
