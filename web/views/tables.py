"""What tables need that are drawn as blocks on a phone."""

from __future__ import annotations

import re

from flask import Flask
from markupsafe import Markup

ROLES = {"thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "th": "columnheader", "td": "cell"}
TAG = re.compile(r"<(thead|tbody|tr|th|td)\b")


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(with_table_roles=with_table_roles)


def with_table_roles(rows: Markup) -> Markup:
    """Says of each part what it is: `display: block` takes that from it. Text has no `<` in it, it is escaped."""
    return Markup(TAG.sub(lambda tag: f'<{tag[1]} role="{ROLES[tag[1]]}"', rows))  # noqa: S704
