"""The audit's subject may be a worker, whose id is longer than those that we make."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _resize(32, 64)


def downgrade() -> None:
    _resize(64, 32)


def _resize(before: int, after: int) -> None:
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.alter_column(
            "subject_id",
            existing_type=sa.String(length=before),
            type_=sa.String(length=after),
            existing_nullable=False,
            # widening is a change of the catalogue; an expression would have the table written anew
            postgresql_using=f"left(subject_id, {after})" if after < before else None,
        )
    if op.get_bind().dialect.name == "sqlite":
        # the table was made again, and its triggers went with the old one
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END"
            )
