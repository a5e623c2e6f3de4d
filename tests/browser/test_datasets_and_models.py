"""From files dropped on the page to a model that somebody else tries, and back: uploads, previews, cards, sharing."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from tests.browser.conftest import axe, fits


def picture(n: int, size: int = 16) -> bytes:
    """Grey stripes, each picture another one."""
    image = Image.new("L", (size, size))
    image.putdata([(x * (n + 3) * 7 + y * n) % 256 for y in range(size) for x in range(size)])
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def files(count: int = 12) -> list[dict]:
    return [
        {"name": f"{n}.png", "mimeType": "image/png", "buffer": picture(n)} for n in range(count)
    ]


DROP = """([selector, files]) => {
  const data = new DataTransfer();
  for (const [name, type, text] of files) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  const target = document.querySelector(selector);
  for (const type of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""


def drop(page, found: list[dict], selector: str = "main") -> None:
    packed = [
        [one["name"], one["mimeType"], base64.b64encode(one["buffer"]).decode()] for one in found
    ]
    page.evaluate(DROP, [selector, packed])


@pytest.fixture(scope="module")
def api(atelier):
    """The client of ann."""
    return atelier.clients["ann"]


@pytest.fixture(scope="module")
def bob(atelier):
    atelier.user("bob")


def test_from_a_drop_to_a_shared_model(page_at, api, bob, watch):
    watch.allowed.append("404")  # of what is not shared
    page = page_at()
    page.goto("/datasets")
    page.get_by_text("Drop files or a folder here").wait_for()
    drop(page, files(10))
    page.locator("input[type=file][name=file]").set_input_files(files(12)[10:])
    assert page.locator(".upload-list li").count() == 12
    page.get_by_label("Name").fill("Stripes")
    assert axe(page) == [] and fits(page)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/datasets/*")
    page.get_by_role("link", name="Train on it").wait_for()
    assert page.get_by_role("heading", name="Stripes").is_visible()
    page.get_by_text("12 items", exact=True).first.wait_for()
    assert page.locator(".gallery img").count() == 12
    assert page.locator("svg.histogram").count() >= 1
    assert axe(page) == []
    dataset_id = page.url.rsplit("/", 1)[-1]

    params = {"steps": 20, "validate_every": 10, "base_channels": 8, "latent_dim": 2}
    job = api.jobs.submit(
        "train", params, family="vae", dataset_id=dataset_id, name="Stripes model"
    )
    model_id = job.wait(timeout=120).result_or_raise()["result"]["model_id"]

    page.goto(f"/models/{model_id}")
    assert page.locator("[data-step].current").count() == 1
    assert page.locator("pre", has_text='Model.from_pretrained("stripes-model")').count() == 1
    page.locator("form[data-try] [name='params.count']").fill("2")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator("#tried .gallery img").nth(1).wait_for()
    assert page.url.split("?job=")[0].endswith(f"/models/{model_id}")
    assert axe(page) == []

    friend = page_at(who="bob")
    assert friend.goto(f"/models/{model_id}").status == 404
    friend.goto("/models")
    page.get_by_role("button", name="Share with everybody here").click()
    page.get_by_role("button", name="Stop sharing").wait_for()
    friend.goto("/models")
    friend.get_by_role("link", name="Stripes model").click()
    friend.get_by_role("heading", name="Stripes model").wait_for()
    assert friend.get_by_role("button", name="Stop sharing").count() == 0
    page.get_by_role("button", name="Stop sharing").click()
    page.get_by_role("button", name="Share with everybody here").wait_for()
    assert friend.reload().status == 404


PASTE = """(text) => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def test_two_pasted_texts_of_one_length_are_two(page_at, api):
    page = page_at()
    page.goto("/datasets")
    for text in ("the first text", "another words!"):
        page.evaluate(PASTE, text)
    names = page.locator(".upload-name").all_inner_texts()
    assert names == ["pasted.txt", "pasted 2.txt"]
