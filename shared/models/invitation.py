"""An invitation to make an account: a link that an administrator hands out, usable a number of times."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import Id, MaybeTime, Time


class Invitation(Base):
    __tablename__ = "invitation"

    id: Mapped[Id]
    sha256: Mapped[str] = mapped_column(String(64), unique=True)  # of the secret in the link
    note: Mapped[str] = mapped_column(String(200), default="")
    # NULL: made on the command line
    created_by: Mapped[str | None] = mapped_column(String(32), ForeignKey("user.id"))
    uses: Mapped[int] = mapped_column(default=1)
    used: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Time]
    expires_at: Mapped[Time]
    revoked_at: Mapped[MaybeTime]
