"""Rows that are drawn as blocks on a phone say that they are rows."""

from __future__ import annotations

from markupsafe import Markup

from web.views.tables import with_table_roles


def test_each_part_says_what_it_is_and_nothing_else_is_touched():
    rows = Markup(
        '<thead><tr><th scope="col">A</th></tr></thead>'
        '<tbody><tr class="x"><td>&lt;td&gt; <time>1</time><template></template></td></tr></tbody>'
    )
    assert with_table_roles(rows) == (
        '<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">A</th></tr></thead>'
        '<tbody role="rowgroup"><tr role="row" class="x"><td role="cell">&lt;td&gt; <time>1</time>'
        "<template></template></td></tr></tbody>"
    )
    assert isinstance(with_table_roles(rows), Markup)
