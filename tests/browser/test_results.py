"""The gallery in a real browser, with pictures and texts that this installation made."""

from __future__ import annotations

import re
import zipfile

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import axe, fits, shoot
from tests.installation import Installation


@pytest.fixture(scope="module")
def atelier():
    """Ann has a tiny model of digits; bob is there, too."""
    with Installation(threads="2") as found:
        found.ann, found.bob = found.user("ann"), found.user("bob")
        found.families(found.ann, "vae", "transformer_lm")
        yield found


@pytest.fixture(scope="module")
def pictures(atelier):
    """The model's id; six pictures of two seeds."""
    client = atelier.ann
    data = client.datasets.add(sample="digits").wait()
    job = client.jobs.submit(
        "train", {"steps": 60}, family="vae", dataset_id=data.id, name="Tiny digits", seed=1
    )
    model_id = job.wait().result_or_raise()["result"]["model_id"]
    for seed in (1, 2):
        made = client.jobs.submit("generate", {"count": 3}, model_id=model_id, seed=seed)
        made.wait().result_or_raise()
    return model_id


@pytest.fixture(scope="module")
def texts(atelier):
    """Two texts of a model that has hardly begun to learn."""
    client = atelier.ann
    data = client.datasets.add(sample="python-docs").wait()
    params = {"steps": 20, "block_size": 64, "n_layer": 1, "n_head": 2, "n_embd": 32}
    job = client.jobs.submit(
        "train", params, family="transformer_lm", dataset_id=data.id, name="Tiny words", seed=1
    )
    model_id = job.wait().result_or_raise()["result"]["model_id"]
    wanted = {"count": 2, "prompt": "The function", "max_new_tokens": 60}
    client.jobs.submit("generate", wanted, model_id=model_id, seed=3).wait().result_or_raise()
    return model_id


def cards(page):
    return page.locator("[data-result]")


def test_by_keyboard_alone(page_at, pictures, atelier):
    page = page_at()
    page.goto("/results")
    assert cards(page).count() == 6
    assert axe(page) == []
    first, second = (cards(page).nth(n).get_attribute("data-result") for n in (0, 1))

    page.keyboard.press("?")
    page.get_by_role("heading", name="Keyboard").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.closest('[data-result]').dataset.result"
    assert page.evaluate(focused) == second
    page.keyboard.press(".")
    page.locator(f"[data-result='{second}'] [aria-pressed=true]").wait_for()
    assert atelier.ann.artifacts.get(second)["starred"]
    page.keyboard.press("x")
    page.get_by_text("1 selected").wait_for()
    page.keyboard.press("x")
    page.keyboard.press("c")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("c")
    page.wait_for_url(f"**/results/compare?a={second}&b={first}")
    page.locator("[data-slide]").focus()
    seen = "document.querySelector('[data-compare]').style.getPropertyValue('--seen')"
    before = page.evaluate(seen)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(seen) != before

    page.goto("/results?starred=1")
    assert cards(page).count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/artifacts/{second}?starred=1")
    page.goto(f"/artifacts/{second}")
    page.keyboard.press("+")
    page.get_by_text("125 %").wait_for()
    stage = page.locator("[data-zoom]")
    stage.focus()
    page.keyboard.press("ArrowLeft")  # moves what is zoomed
    assert "translate(60px, 0px)" in stage.locator("img").get_attribute("style")
    stage.evaluate("(one) => one.blur()")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/artifacts/{first}")
    page.keyboard.press("r")
    page.wait_for_url("**/generate/**from=*")
    assert page.locator("[name='params.count']").input_value() == "3"
    page.go_back()
    page.keyboard.press("s")
    page.wait_for_url("**/generate/**use=seed*")
    assert page.locator("[name=seed]").input_value() == "2"


def test_a_page_that_cannot_be_loaded_is_asked_for_once_and_again_by_the_link(
    page_at, pictures, watch
):
    watch.allowed.append("503")
    page = page_at()
    page.goto("/results")
    asked = []

    def answer(route):
        asked.append(route.request.url)
        if len(asked) < 3:
            route.fulfill(status=503, body="busy")
        else:
            route.fulfill(body='<ul><li class="result" data-result="x">the seventh</li></ul>')

    page.route("**/results?after=x", answer)
    page.evaluate(
        """() => {
          const more = document.createElement("nav");
          more.className = "more";
          more.innerHTML = '<a data-more href="/results?after=x">More</a>';
          document.getElementById("gallery").append(more);
          document.dispatchEvent(new Event("htmx:after:swap"));
        }"""
    )
    page.get_by_text("could not be loaded").wait_for()
    page.wait_for_timeout(500)
    assert len(asked) == 1
    page.get_by_text("More", exact=True).click()
    expect(page.locator(".toast.error")).to_have_count(1)
    assert len(asked) == 2
    page.get_by_text("More", exact=True).click()
    page.get_by_text("the seventh").wait_for()
    expect(page.locator(".toast.error")).to_have_count(0)


def test_a_star_that_was_not_set_is_not_shown_as_set(page_at, pictures, watch):
    watch.allowed += ["401", "ERR_FAILED"]
    page = page_at()
    page.goto("/results")
    star = cards(page).last.locator("[data-star] button")
    for refuse in (lambda route: route.fulfill(status=401, body="{}"), lambda route: route.abort()):
        page.route("**/api/v1/artifacts/*", refuse)
        star.click()
        page.get_by_text("The star could not be changed.").first.wait_for()
        expect(star).to_have_attribute("aria-pressed", "false")
        page.unroute("**/api/v1/artifacts/*")


def test_two_fingers_zoom_a_picture_and_one_scrolls_the_page(page_at, pictures):
    page = page_at(390)
    page.goto("/results")
    page.goto(cards(page).first.locator(".result-open").get_attribute("href"))
    stage = page.locator("[data-zoom]")
    action = "(one) => getComputedStyle(one).touchAction"
    assert stage.evaluate(action) == "pan-y"
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    line = page.context.new_cdp_session(page)
    line.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    def touch(kind: str, apart: int) -> None:
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        line.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if apart else []}
        )

    touch("touchStart", 30)
    for apart in (45, 60):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    page.get_by_text("200 %").wait_for()
    assert stage.evaluate(action) == "none"


def test_keys_of_one_letter_can_be_turned_off(page_at, pictures):
    page = page_at()
    page.goto("/account")
    page.get_by_label("Keys of one letter act by themselves").uncheck()
    page.goto("/results")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("[name=id]:checked")).to_have_count(0)


@pytest.mark.slow
def test_filter_select_download_tag_share_and_delete(page_at, pictures, texts, atelier, tmp_path):
    page = page_at()
    page.goto("/results")
    assert cards(page).count() == 8
    page.locator("[name=media]").select_option("text")
    expect(cards(page)).to_have_count(2)
    expect(page).to_have_url(re.compile("media=text"))
    page.locator("[name=media]").select_option("")
    expect(cards(page)).to_have_count(8)
    page.locator("[name=q]").fill("function")
    expect(cards(page)).to_have_count(2)
    page.goto("/results?media=image")

    boxes = page.locator("[name=id]")
    boxes.nth(0).check()
    boxes.nth(2).click(modifiers=["Shift"])
    page.get_by_text("3 selected").wait_for()
    with page.expect_download() as download:
        page.locator("[value=download]").click()
    with zipfile.ZipFile(download.value.path()) as found:
        assert len(found.namelist()) == 4
    # the page is still usable after a download
    page.locator("[name=tag]").last.fill("蓝, best")
    page.locator("[value=tag]").click()
    page.get_by_text("3 results are changed.").wait_for()
    page.goto("/results?tag=best")
    assert cards(page).count() == 3

    shown = cards(page).first.get_attribute("data-result")
    page.locator("[name=id]").first.check()
    page.get_by_text("Share…").click()
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_text("1 result is changed.").wait_for()
    other = page_at(who="bob")
    other.goto("/results?whose=shared")
    assert cards(other).count() == 1
    other.goto(f"/artifacts/{shown}")
    assert axe(other) == []
    page.goto(f"/artifacts/{shown}")
    page.get_by_role("button", name="Stop sharing").click()
    page.get_by_text("You alone.", exact=True).wait_for()
    other.goto("/results?whose=shared")
    assert cards(other).count() == 0
    assert other.request.get(f"{atelier.url}/api/v1/artifacts/{shown}/content").status == 404

    page.goto("/results?tag=best")
    page.locator("[name=id]").first.check()
    page.get_by_text("Delete…").click()
    page.get_by_role("button", name="Delete the selected results").click()
    page.get_by_text("1 result is deleted.").wait_for()
    assert cards(page).count() == 2  # of the three with this tag


@pytest.mark.slow
def test_comparing_by_slider_side_by_side_and_difference(page_at, pictures, texts, atelier):
    page = page_at()
    page.goto("/results?media=image")
    a, b = (cards(page).nth(n).get_attribute("data-result") for n in (0, 1))
    page.goto(f"/results/compare?a={a}&b={b}")
    assert axe(page) == []
    shoot(page, "compare-slider")
    page.get_by_role("link", name="Side by side").click()
    page.wait_for_url("**mode=beside")
    page.get_by_role("link", name="Difference").click()
    page.get_by_text("of the pixels differ").wait_for()
    lit = "[...document.querySelector('[data-canvas]').getContext('2d').getImageData(0,0,8,8).data].some(v => v > 0)"
    assert page.evaluate(lit)
    shoot(page, "compare-difference")
    page.goto(f"/results/compare?a={a}&b={a}&mode=difference")
    page.get_by_text("They are the same").wait_for()
    page.goto("/results?media=text")
    a, b = (cards(page).nth(n).get_attribute("data-result") for n in (0, 1))
    page.goto(f"/results/compare?a={a}&b={b}")
    assert page.locator("mark").count() > 1
    assert axe(page) == []
    shoot(page, "compare-texts")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme", "language"),
    [(1440, "light", "en-GB"), (1440, "dark", "en-GB"), (390, "light", "en-GB"),
     (1440, "light", "zh-CN"), (390, "dark", "zh-CN")],
)  # fmt: skip
def test_the_pages_fit_in_both_appearances_and_languages(
    page_at, pictures, texts, width, scheme, language
):
    page = page_at(width, scheme, language)
    name = f"{width}-{scheme}-{language}"
    page.goto("/results")
    page.locator("[name=id]").first.check()
    assert fits(page)
    assert axe(page) == []
    shoot(page, f"results-{name}", full=False)
    first = cards(page).first.locator(".result-open")
    last = cards(page).last.locator(".result-open")
    for kind, link in (
        ("text", first.get_attribute("href")),
        ("picture", last.get_attribute("href")),
    ):
        page.goto(link)
        assert fits(page)
        assert axe(page) == []
        shoot(page, f"result-{kind}-{name}")


def test_pictures_and_texts_are_tiles_of_one_size_on_the_start_page(page_at, pictures, texts):
    page = page_at(1440)
    page.goto("/")
    boxes = [one.bounding_box() for one in page.locator(".gallery :is(.thumb, .excerpt)").all()]
    assert len(boxes) == 8
    assert {round(box["width"]) for box in boxes} == {round(box["height"]) for box in boxes}
    assert max(box["width"] for box in boxes) < 260


def test_tables_of_a_phone_are_not_scrolled_sideways(page_at, pictures, texts):
    page = page_at(390)
    for path in ("/jobs", "/datasets", "/account", "/help/vae"):
        page.goto(path)
        wider = "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
        assert page.locator(".scroll:has(.cards)").count()
        assert page.locator(".scroll:has(.cards)").evaluate_all(wider) == 0, path
        shoot(page, f"phone{path.replace('/', '-')}")
