"""/help: every family explains itself out of what it announces, in both languages."""

from __future__ import annotations

import html

import pytest

from shared import catalog
from tests import messages
from tests.web.browsing import PLAIN_PAGES
from web.language import LANGUAGE_COOKIE

FAMILIES = messages.announced()


@pytest.fixture
def real_families(studio):
    with studio.db.writing() as session:
        for announcement in FAMILIES.values():
            catalog.announce(session, announcement)


def test_the_quick_start_leads_to_each_family(mine, real_families):
    page = mine.page("/help")
    for name, family in FAMILIES.items():
        assert page.all("a", href=f"/help/{name}")
        assert family["title"] in html.unescape(page.text)
    # nothing that it points to is missing
    for link in page.all("a"):
        if (link["href"] or "").startswith("/") and "?" not in link["href"]:
            assert mine.get(link["href"]).status_code == 200, link


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_page_tells_every_parameter_with_bounds_and_papers(mine, real_families, name):
    page = mine.page(f"/help/{name}")
    for action in FAMILIES[name]["actions"].values():
        for field, schema in action["schema"]["properties"].items():
            assert f">{field}<" in page.text
            assert schema["title"] in html.unescape(page.text)
    for paragraph in messages.paragraphs(FAMILIES[name]["doc"]):
        assert paragraph in " ".join(page.words.split())
    if "arXiv:" in FAMILIES[name]["doc"]:
        assert 'href="https://arxiv.org/abs/' in page.text


@pytest.mark.parametrize("name", FAMILIES)
def test_it_speaks_chinese(mine, real_families, name):
    mine.client.set_cookie(LANGUAGE_COOKIE, "zh_Hans_CN")
    page = mine.page(f"/help/{name}")
    assert "作用" in page.words
    assert messages.paragraphs(FAMILIES[name]["doc"])[0] not in page.words


def test_an_unknown_family_is_not_found(mine, real_families):
    assert mine.get("/help/nothing").status_code == 404


def test_help_is_among_the_pages_that_every_sweep_visits():
    assert "/help" in PLAIN_PAGES
