"""The page that shows every part, in both appearances and all sizes."""

from __future__ import annotations

import pytest

from tests.browser.conftest import axe, fits, shoot


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_the_style_page_shows_all_parts(page_at, width, scheme):
    page = page_at(width, scheme)
    page.goto("/style")
    assert fits(page)
    shoot(page, f"style-{width}-{scheme}")
    if width == 1440:
        assert axe(page) == []
