"""What Alembic runs for each command; the connection comes from migrations/__init__.py."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON

import shared.models  # noqa: F401  importing the tables fills the metadata
from shared.db import metadata

OBJECT = """from sqlalchemy.dialects.postgresql import JSONB

OBJECT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Our JSON columns by one name: Alembic writes their variant for PostgreSQL wrongly."""
    if kind == "type" and isinstance(item, JSON):
        autogen.imports.add(OBJECT)
        return "OBJECT"
    return False


attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    # SQLite can alter hardly anything in place; batch mode makes the table again.
    render_as_batch=not attributes.get("first", False),
    # True on SQLite too, since we say BEGIN ourselves: a migration happens whole or not at all.
    transactional_ddl=True,
    compare_type=True,
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
