"""Lifecycle: a training may go on from a checkpoint of another; checkpoints have a score."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("job") as batch:
        batch.add_column(sa.Column("continues", sa.String(length=32), nullable=True))
        batch.add_column(sa.Column("continues_step", sa.Integer(), nullable=True))
        batch.create_index(op.f("ix_job_continues"), ["continues"], unique=False)
    with op.batch_alter_table("checkpoint") as batch:
        batch.add_column(sa.Column("score", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("checkpoint") as batch:
        batch.drop_column("score")
    with op.batch_alter_table("job") as batch:
        batch.drop_index(op.f("ix_job_continues"))
        batch.drop_column("continues_step")
        batch.drop_column("continues")
