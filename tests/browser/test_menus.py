"""Menus and questions at the sizes where they used to be cut off: whatever is open can be pressed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import shoot
from tests.installation import Installation

# whether a click on the middle of the element would meet it
REACHED = """(one) => {
  const box = one.getBoundingClientRect();
  const inside = box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight;
  return inside && one.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
}"""


@pytest.fixture(scope="module")
def atelier():
    """Ann has a model of digits and two pictures."""
    with Installation(threads="2") as found:
        client = found.user()
        found.families(client, "vae")
        data = client.datasets.add(sample="digits").wait()
        job = client.jobs.submit(
            "train", {"steps": 20}, family="vae", dataset_id=data.id, name="Tiny digits", seed=1
        )
        found.model_id = job.wait().result_or_raise()["result"]["model_id"]
        made = client.jobs.submit("generate", {"count": 2}, model_id=found.model_id, seed=1)
        found.job_id = made.wait().result_or_raise()["id"]
        yield found


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_the_menu_of_the_account_is_whole(page_at, width, language):
    page = page_at(width, language=language)
    page.goto("/results")
    page.locator(".rail-foot summary").click()
    menu = page.locator(".rail-foot .menu > div")
    for one in menu.locator("a, button").all():
        assert one.evaluate(REACHED), one.inner_text()
    shoot(page, f"account-menu-{width}-{language}", full=False)
    # in a low window it scrolls in itself
    page.set_viewport_size({"width": width, "height": 420})
    out = menu.locator("form button")
    out.scroll_into_view_if_needed()
    assert out.evaluate(REACHED)


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_a_question_and_its_red_button_lie_in_the_window(page_at, atelier, width, language):
    page = page_at(width, language=language)
    picture = page.request.get(f"/api/v1/jobs/{atelier.job_id}").json()["result"]["artifacts"][0]
    for path in (f"/models/{atelier.model_id}", f"/artifacts/{picture['id']}"):
        page.goto(path)
        asks = page.locator(".menu.asks").first
        asks.locator("summary").click()
        expect(asks).to_have_attribute("open", "")
        assert asks.locator("button.danger").evaluate(REACHED), path
        assert asks.locator("p").evaluate(REACHED), path
    page.goto("/results")
    page.locator("[name=id]").first.check()
    for asks in page.locator(".selection .menu.asks").all():
        asks.locator("summary").click()
        for one in asks.locator("div button").all():
            assert one.evaluate(REACHED), one.inner_text()
        shoot(page, f"asks-{width}-{language}", full=False)
        page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_a_question_in_a_table_is_not_cut_off(page_at, width):
    page = page_at(width, who="admin")
    page.goto("/admin/queue")
    asks = page.locator(".scroll .menu.asks").first
    asks.locator("summary").click()
    assert asks.locator("div button").evaluate(REACHED)
    shoot(page, f"drain-{width}", full=False)
