"""From the first link to a dark page in Chinese, as the first administrator does it."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PASSWORD, axe, choose_password, first_run_link
from tests.installation import Installation


@pytest.fixture(scope="module")
def atelier():
    """Nobody has come yet."""
    with Installation(threads="2") as found:
        yield found


def test_first_run_sign_in_language_and_theme(atelier, page_at):
    page = page_at(who=None)
    page.goto(first_run_link(atelier))
    assert axe(page) == []
    choose_password(page)
    page.get_by_role("heading", name="Hello, admin").wait_for()

    page.locator(".rail-foot summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert axe(page) == []
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Hello, admin").wait_for()

    page.goto("/datasets?after=")
    page.locator(".rail-foot summary").click()
    page.get_by_role("link", name="中文").click()
    page.get_by_role("heading", name="数据集", level=1).wait_for()
    assert page.url.endswith("/datasets?after=")
    assert page.locator("html").get_attribute("lang") == "zh-Hans-CN"

    page.locator(".rail-foot summary").click()
    page.get_by_role("link", name="深色").click()
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(20, 22, 27)"
    page.goto("/")
    # drawn dark from the first byte, without waiting for a script
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate(paper) == "rgb(20, 22, 27)"
    page.get_by_role("heading", name="你好，admin").wait_for()
    assert axe(page) == []


def test_a_guest_chooses_too_and_without_a_script(page_at):
    page = page_at(who=None, script=False)
    page.goto("/sign-in?next=/jobs")
    page.get_by_role("link", name="中文").click()
    page.get_by_role("heading", name="登录").wait_for()
    assert page.url.endswith("/sign-in?next=/jobs")
    page.get_by_role("link", name="深色").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
