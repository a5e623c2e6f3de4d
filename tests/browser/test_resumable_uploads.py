"""Uploads go on where they stopped: after a lost connection, after a reload, and many files as one."""

from __future__ import annotations

import pytest

from tests.browser.conftest import axe
from tests.browser.test_datasets_and_models import drop, picture

PIECE = 8 << 20  # as js/tus.js sends
LINE = b"It goes on where it stopped, whatever came between.\n"

pytestmark = pytest.mark.slow


@pytest.fixture
def large(tmp_path):
    """A text of two pieces and a half."""
    path = tmp_path / "large.txt"
    path.write_bytes(LINE * (PIECE * 5 // 2 // len(LINE)))
    return path


@pytest.fixture
def api(atelier):
    return atelier.clients["ann"]


class Line:
    """What goes to the server of an upload; `cut()` loses all that follows the first piece."""

    def __init__(self, page) -> None:
        self.offsets: list[int] = []
        self.held: list = []
        self.how = ""
        page.route("**/api/v1/uploads/*", self._pass)

    def _pass(self, route) -> None:
        if route.request.method != "PATCH":
            return route.continue_()
        offset = int(route.request.headers["upload-offset"])
        if offset and self.how == "lose":
            return route.abort("connectionreset")
        if offset and self.how == "hold":
            self.held.append(route)
            return None
        self.offsets.append(offset)
        return route.continue_()


def same_text(api, page, path) -> None:
    page.wait_for_url("**/datasets/*", timeout=60_000)
    dataset = api.datasets.get(page.url.rsplit("/", 1)[-1]).wait(timeout=90)
    assert dataset["state"] == "ready"
    assert dataset["facts"]["characters"] == path.stat().st_size


def test_an_upload_goes_on_after_the_connection_was_lost(page_at, api, large, watch):
    watch.allowed += ["ERR_CONNECTION_RESET", "ERR_INTERNET_DISCONNECTED"]
    page = page_at()
    line = Line(page)
    line.how = "lose"
    page.goto("/datasets")
    page.locator("input[name=file]").set_input_files(large)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_text("The connection is lost").wait_for()
    page.context.set_offline(True)
    line.how = ""
    page.wait_for_event("requestfailed")  # it asked, and there is no line
    page.context.set_offline(False)  # the browser says so, and it goes on at once
    same_text(api, page, large)
    assert line.offsets == [0, PIECE, 2 * PIECE]


def test_an_upload_goes_on_after_a_reload_with_the_same_file(page_at, api, large):
    page = page_at()
    line = Line(page)
    line.how = "hold"
    page.goto("/datasets")
    page.locator("input[name=file]").set_input_files(large)
    page.get_by_role("button", name="Upload", exact=True).click()
    while not line.held:
        page.wait_for_timeout(50)
    line.how = ""
    page.goto("/datasets")
    row = page.get_by_role("row", name="large.txt")
    assert "8.4 MB of 21 MB" in row.inner_text()
    assert axe(page) == []
    page.locator("input[name=file]").set_input_files(large)
    page.get_by_role("button", name="Upload", exact=True).click()
    same_text(api, page, large)
    assert line.offsets == [0, PIECE, 2 * PIECE]
    page.goto("/datasets")
    assert page.get_by_role("row", name="large.txt").count() <= 1  # used up: only the dataset


def test_an_upload_that_is_not_wanted_is_deleted(page_at, large):
    page = page_at()
    line = Line(page)
    line.how = "hold"
    page.goto("/datasets")
    page.locator("input[name=file]").set_input_files(large)
    page.get_by_role("button", name="Upload", exact=True).click()
    while not line.held:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Stop; what was sent is kept for a day").click()
    page.get_by_role("button", name="Upload", exact=True).wait_for()
    page.goto("/datasets")
    page.get_by_role("row", name="8.4 MB of 21 MB").get_by_role("button", name="Delete").click()
    page.get_by_text("The upload is deleted.").wait_for()
    assert page.get_by_role("heading", name="Unfinished uploads").count() == 0


def test_many_files_travel_as_one_zip_with_their_folders(page_at, api, tmp_path):
    for label in ("down", "up"):
        (tmp_path / "stripes" / label).mkdir(parents=True)
        for n in range(25):
            path = tmp_path / "stripes" / label / f"{n}.png"
            path.write_bytes(picture(n + 30 * (label == "up")))
    (tmp_path / "stripes" / ".DS_Store").write_bytes(b"x")
    page = page_at()
    page.goto("/datasets")
    page.locator("[data-folder]").set_input_files(tmp_path / "stripes")
    assert "50 files together" in page.locator(".upload-list").inner_text()
    assert page.get_by_label("Name").input_value() == "stripes"
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/datasets/*")
    dataset = api.datasets.get(page.url.rsplit("/", 1)[-1]).wait(timeout=60)
    assert (dataset["state"], dataset["items"], dataset["problems"]) == ("ready", 50, [])
    page.get_by_text("up: 25").first.wait_for(state="attached")


def test_a_pasted_text_and_a_bad_file_among_good_ones(page_at):
    page = page_at()
    page.goto("/datasets")
    page.evaluate(
        """text => {
          const data = new DataTransfer();
          data.setData("text/plain", text);
          dispatchEvent(Object.assign(new ClipboardEvent("paste", { clipboardData: data, bubbles: true })));
        }""",
        "Pasted words. " * 40,
    )
    assert page.locator(".upload-list li").count() == 1
    bad = {"name": "bad.txt", "mimeType": "text/plain", "buffer": b"words\0" * 20}
    drop(page, [bad])
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/datasets/*")
    page.get_by_text("Some of it cannot be used.").wait_for()
    assert "export it as plain text" in page.locator(".problems").inner_text()
    page.get_by_role("button", name="Use the rest").click()
    page.get_by_role("link", name="Train on it").wait_for()
    assert page.locator("pre", has_text="Pasted words.").count() == 1


def test_without_a_script_a_form_uploads(page_at, tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text("Plain words in a plain form. " * 50)
    page = page_at(script=False)
    page.goto("/datasets")
    page.locator("input[name=file]").set_input_files(path)
    page.locator("[name=name]").fill("Plain")
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/datasets/*")
    page.get_by_role("link", name="Train on it").wait_for()  # renewed by the page itself
    page.locator("#new-name").fill("Plainer")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Plainer", level=1).wait_for()
    page.locator("summary", has_text="Delete…").click()
    page.get_by_role("button", name="Delete the dataset").click()
    page.get_by_text("The dataset is deleted.").wait_for()
