"""Results are starred, tagged and shared; the gallery's indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

IN_GALLERY = sa.text("deleted_at IS NULL AND role IN ('output', 'grid')")
SHARED = sa.text("deleted_at IS NULL AND visibility = 'shared'")


def upgrade() -> None:
    op.create_table(
        "mark",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("artifact_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name=op.f("fk_mark_artifact_id_artifact")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_mark_user_id_user")),
        sa.PrimaryKeyConstraint("user_id", "name", "artifact_id", name=op.f("pk_mark")),
    )
    op.create_index(op.f("ix_mark_artifact_id"), "mark", ["artifact_id"])
    op.add_column(
        "artifact",
        sa.Column("visibility", sa.String(length=16), nullable=False, server_default="private"),
    )
    op.create_index(
        "ix_artifact_gallery",
        "artifact",
        ["user_id", "id"],
        sqlite_where=IN_GALLERY,
        postgresql_where=IN_GALLERY,
    )
    op.create_index(
        "ix_artifact_shared", "artifact", ["id"], sqlite_where=SHARED, postgresql_where=SHARED
    )


def downgrade() -> None:
    op.drop_index("ix_artifact_shared", table_name="artifact")
    op.drop_index("ix_artifact_gallery", table_name="artifact")
    op.drop_column("artifact", "visibility")
    op.drop_index(op.f("ix_mark_artifact_id"), table_name="mark")
    op.drop_table("mark")
