"""Sweeps and tallies; the index over states also counts kinds and families."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

OBJECT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("removed", OBJECT, nullable=False),
        sa.Column("found", OBJECT, nullable=True),
        sa.Column("free_before", sa.BigInteger(), nullable=False),
        sa.Column("free_after", sa.BigInteger(), nullable=False),
        sa.Column("disk_bytes", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index(op.f("ix_sweep_started_at"), "sweep", ["started_at"])
    op.create_table(
        "tally",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name=op.f("pk_tally")),
    )
    op.drop_index("ix_job_state", table_name="job")
    op.create_index("ix_job_state_kind_family", "job", ["state", "kind", "family"])


def downgrade() -> None:
    op.drop_index("ix_job_state_kind_family", table_name="job")
    op.create_index("ix_job_state", "job", ["state"])
    op.drop_table("tally")
    op.drop_index(op.f("ix_sweep_started_at"), table_name="sweep")
    op.drop_table("sweep")
