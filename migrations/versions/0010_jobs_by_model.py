"""What was generated with a model is found without a look at all jobs."""

from __future__ import annotations

from alembic import op


revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_model", ["model_id", "id"], unique=False)
        batch_op.drop_index("ix_job_model_id")


def downgrade() -> None:
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_model_id", ["model_id"], unique=False)
        batch_op.drop_index("ix_job_model")
