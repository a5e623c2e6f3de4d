"""Every page with real content, in every width, light, dark, Chinese: nothing sticks out, nothing serious for axe."""

from __future__ import annotations

import pytest

from tests.browser.conftest import SIZES, axe, fits
from tests.browser.screenshots import ADMIN_PAGES, GUEST_PAGES, Content

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pages(atelier, signed_in):
    client = atelier.user("bea")
    signed_in("bea")
    atelier.families(client, "vae", "lstm", "transformer_lm")
    content = Content(atelier, client, steps=30)
    yield content.pages()
    client.jobs.cancel(content.running["id"])
    client.jobs.cancel(content.waiting["id"])


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("who", ["bea", "admin", None])
def test_pages_are_accessible_and_fit(pages, page_at, watch, who, scheme, language):
    watch.allowed.append("404")  # the page of what does not exist
    chosen = {"bea": pages, "admin": ADMIN_PAGES, None: GUEST_PAGES}[who]
    page = page_at(1440, scheme, language, who=who)
    wrong = []
    for name, path in chosen.items():
        page.goto(path)
        wrong += [f"{name}: {one}" for one in axe(page)]
        for width, height in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            if not fits(page):
                wrong.append(f"{name}: does not fit {width}")
    assert wrong == []
