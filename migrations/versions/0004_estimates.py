"""What a job asked for, what ran it and how long that took: the history that corrects estimates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

OBJECT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
MEASURED = sa.text("run_seconds IS NOT NULL")

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("cost", OBJECT, nullable=False, server_default=sa.text("'{}'")))
    op.add_column(
        "job", sa.Column("device", sa.String(length=160), nullable=False, server_default="")
    )
    op.add_column("job", sa.Column("run_seconds", sa.Double(), nullable=True))
    op.create_index(
        "ix_job_history",
        "job",
        ["family", "family_version", "kind", "finished_at"],
        unique=False,
        sqlite_where=MEASURED,
        postgresql_where=MEASURED,
    )


def downgrade() -> None:
    op.drop_index(
        "ix_job_history",
        table_name="job",
        sqlite_where=MEASURED,
        postgresql_where=MEASURED,
    )
    op.drop_column("job", "run_seconds")
    op.drop_column("job", "device")
    op.drop_column("job", "cost")
