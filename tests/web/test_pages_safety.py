"""Pages: whatever people name or type is shown as text; nothing inline, nothing from outside."""

from __future__ import annotations

import re

import pytest

from shared.jobs import Lease, fail
from tests.web.browsing import PLAIN_PAGES, Browser, Page, own_pages
from tests.webhook_rows import add_webhook

ATTACKS = [
    "<img src=x onerror=alert(1)>",
    "</title></script><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "[x](javascript:alert(1)) ![x](http://evil/)",
    "\u202egnp.exe{{77777*7}}{% raw %}",
]


@pytest.fixture
def attacked(app, work, alice, studio):
    """Everything that a person can name is named by an attack."""
    everything = " ".join(ATTACKS)[:200]
    dataset_id = work.dataset(
        alice,
        name=everything,
        note=everything,
        facts={"items": 10, "channels": 1, "labels": ATTACKS},
        problems={"files": [{"name": everything, "message": everything}]},
    )
    job_id = work.training(alice, name=everything, dataset_id=dataset_id)["id"]
    (job,) = work.claim()
    work.report(job, step=1, total=2, log=everything, points=[[1, 1.0, {everything: 1.0}]])
    work.succeed(job, (everything.encode(),), model=True)
    model_id = alice.get(f"/jobs/{job_id}").json["result"]["model_id"]
    generation = work.generation(alice, model_id=model_id, params={"prompt": "\n".join(ATTACKS)})
    (job,) = work.claim()
    work.succeed(job, (everything.encode(),))
    artifact = alice.get(f"/jobs/{generation['id']}").json["result"]["artifacts"][0]["id"]
    failed = work.training(alice, name=everything, dataset_id=dataset_id)["id"]
    (job,) = work.claim()
    with studio.db.writing() as session:
        fail(session, Lease(job.id, job.fence), "bad_data", everything)
    return [
        f"/datasets/{dataset_id}",
        f"/jobs/{job_id}",
        f"/jobs/{generation['id']}",
        f"/jobs/{failed}",
        f"/models/{model_id}",
        f"/generate/{model_id}",
        f"/artifacts/{artifact}",
        f"/account/webhooks/{add_webhook(studio.db, alice.user.id, job_id, everything)}",
    ]


def assert_harmless(page, path):
    names = {name for name, _ in page.tags}
    assert not names & {"iframe", "object", "embed", "style", "base"}, path
    for script in page.all("script"):
        assert (script.get("src") or "").startswith("/static/"), (path, script)
    for name, attributes in page.tags:
        for key, value in attributes.items():
            assert not key.startswith("on"), (path, name, key)
            assert key != "style", (path, name)
            if key in ("href", "src", "action"):
                assert re.match(r"[/#]|$", value or ""), (path, name, value)
        assert not (name == "img" and attributes.get("src") == "x"), path
    assert "544439" not in page.words, path


def test_what_people_name_is_shown_as_text_everywhere(app, alice, attacked):
    mine = Browser(app, alice.user)
    for path in [*PLAIN_PAGES, *attacked]:
        assert_harmless(mine.page(path), path)
    assert ATTACKS[0] in mine.page(attacked[1]).words


def test_what_is_typed_comes_back_as_text(app, alice, attacked):
    mine = Browser(app, alice.user)
    for attack in ATTACKS:
        form = {f"params.{name}": attack for name in ("steps", "width", "rate")}
        answer = mine.post(
            "/train/toy", form | {"name": attack, "seed": attack, "dataset_id": attack}
        )
        assert answer.status_code == 422
        page = Page(answer.text)
        assert_harmless(page, "/train/toy")
        assert page.field("params.steps")["value"] == attack
        assert_harmless(Page(mine.post("/account/tokens", {"expires_days": attack}).text), "tokens")
        refused = mine.post("/account/webhooks", {"url": attack, "name": attack})
        assert_harmless(Page(refused.text), "webhooks")
        assert_harmless(mine.page(f"/jobs?q={attack}".replace(" ", "+")), "search")
        assert_harmless(Page(mine.get(f"/jobs/{attack}".replace("/", "")).text), "404")


def test_pages_hold_no_inline_style_or_script_and_nothing_from_outside(mine, things):
    for path in PLAIN_PAGES + own_pages(things)[:4]:
        answer = mine.get(path)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert_harmless(Page(answer.text), path)


def test_every_input_has_a_label_and_every_id_is_there_once(mine, things):
    for path in PLAIN_PAGES + own_pages(things):
        page = Page(mine.get(path).text)
        ids = [one["id"] for _, one in page.tags if one.get("id")]
        assert len(ids) == len(set(ids)), (path, ids)
        labels = {one.get("for") for one in page.all("label")}
        for tag in ("input", "select", "textarea"):
            for one in page.all(tag):
                hidden = one.get("type") in ("hidden", "radio") or "aria-hidden" in one
                assert hidden or one.get("id") in labels, (path, one)
