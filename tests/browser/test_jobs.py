"""From a form to a result with a script: estimates, drafts, a job watched live through reloads and lost connections."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import axe, fits, shoot
from tests.servers import wait_until

SHIFT = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shift += one.value;
}).observe({ type: "layout-shift", buffered: true });
"""
ENDS = 90_000
TINY = {"latent_dim": 4, "base_channels": 8, "validate_every": 20}


@pytest.fixture(scope="module")
def client(atelier):
    return atelier.clients["ann"]


@pytest.fixture(scope="module")
def digits(client):
    return client.datasets.add(sample="digits").wait()


@pytest.fixture
def training(client, digits):
    """`training(steps=50)`: a submitted training that is cancelled at the end of the test."""
    made = []

    def submit(**params):
        job = client.jobs.submit("train", TINY | params, family="vae", dataset_id=digits.id)
        made.append(job)
        return job

    yield submit
    for job in made:
        if not job.refresh().has_ended:
            job.cancel()


def until(page, expression):
    """Playwright's own waiting evaluates a text inside the page, which the content policy refuses."""
    wait_until(lambda: page.evaluate(expression), ENDS / 1000, expression)


def badge(page):
    return page.locator("#job-head .badge")


def test_a_training_is_submitted_by_form_and_watched_to_its_end(page_at, digits):
    page = page_at()
    page.add_init_script(SHIFT)
    page.goto(f"/train/vae?dataset_id={digits.id}")
    panel = page.locator("#estimate")
    expect(panel).to_contain_text("Takes")
    assert axe(page) == []
    steps = page.get_by_label("Steps", exact=True)
    steps.fill("0")
    expect(page.locator("#p-steps-error")).to_have_text("Must be at least 1.")
    steps.fill("150")
    expect(page.locator("#p-steps-error")).to_have_count(0)
    page.locator("#copy-as > summary").click()
    expect(page.locator("#copy-curl pre")).to_contain_text('"steps": 150')
    page.get_by_label("Name of the model").fill("by hand")
    steps.press("Control+Enter")
    page.wait_for_url(re.compile("/jobs/"))
    # no reload from here on
    page.evaluate("window.mark = 1")
    expect(badge(page)).to_have_text("succeeded", timeout=ENDS)
    expect(page.get_by_role("link", name="Generate with it")).to_be_visible()
    expect(page.locator(".curve-room canvas")).to_be_visible()
    expect(page.locator("[data-log]")).to_contain_text("Checkpoint at step 150")
    assert page.evaluate("window.mark") == 1
    assert page.evaluate("window.shift") < 0.05
    assert axe(page) == []
    assert fits(page)


@pytest.mark.slow
def test_a_draft_is_kept_and_can_be_discarded(page_at, digits):
    page = page_at()
    page.goto(f"/train/vae?dataset_id={digits.id}")
    page.get_by_label("Steps", exact=True).fill("321")
    reset = page.locator('[data-reset="params.steps"]')
    expect(reset).to_be_visible()
    until(page, "Object.keys(localStorage).some((key) => key.startsWith('draft:'))")
    page.reload()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("321")
    # what it costs now, not what the defaults cost
    page.locator("#copy-as > summary").click()
    expect(page.locator("#copy-curl pre")).to_contain_text('"steps": 321')
    page.get_by_role("button", name="Discard it").click()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("1500")
    page.reload()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("1500")
    expect(page.locator("[data-draft-notice]")).to_be_hidden()
    page.get_by_role("link", name="Thorough").click()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("6000")
    reset.click()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("1500")
    expect(reset).to_be_hidden()


@pytest.mark.slow
def test_the_seed_can_be_rolled_and_kept(page_at, digits):
    page = page_at()
    page.goto(f"/train/vae?dataset_id={digits.id}")
    seed = page.get_by_label("Seed")
    page.get_by_role("button", name="Another seed").click()
    first = seed.input_value()
    assert first.isdecimal()
    page.get_by_role("button", name="Keep this seed").click()
    page.reload()
    expect(seed).to_have_value(first)
    expect(page.get_by_role("button", name="Another seed")).to_be_disabled()


@pytest.mark.slow
def test_a_page_survives_a_reload_and_a_lost_connection(page_at, training, watch):
    watch.allowed += ["ERR_INTERNET_DISCONNECTED", "ERR_NETWORK"]
    page = page_at()
    job = training(steps=4000)
    page.goto(f"/jobs/{job.id}")
    expect(badge(page)).to_have_text("running", timeout=ENDS)
    page.reload()
    step = "document.querySelector('#job-progress progress').value"
    until(page, f"{step} > 0")
    page.context.set_offline(True)
    expect(page.locator(".toast.error")).to_contain_text("connection is lost")
    before = page.evaluate(step)
    page.context.set_offline(False)
    expect(page.locator(".toast.error")).to_have_count(0)
    until(page, f"{step} > {before}")
    expect(page.locator(".curve-room canvas")).to_be_visible()


@pytest.mark.slow
def test_pause_resume_and_cancel_from_the_page(page_at, training):
    page = page_at(390)
    job = training(steps=500_000)
    page.goto(f"/jobs/{job.id}")
    expect(badge(page)).to_have_text("running", timeout=ENDS)
    page.get_by_role("button", name="Pause").click()
    expect(badge(page)).to_have_text("paused", timeout=ENDS)
    page.get_by_role("button", name="Resume").click()
    expect(badge(page)).to_have_text("running", timeout=ENDS)
    assert fits(page)
    page.get_by_role("button", name="Cancel").click()
    expect(badge(page)).to_have_text("cancelled", timeout=30_000)
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    expect(page.locator("#job-follow")).to_have_count(0)


@pytest.mark.slow
def test_everything_goes_without_a_script(page_at, client, digits):
    page = page_at(script=False)
    page.goto(f"/train/vae?preset=quick&dataset_id={digits.id}")
    expect(page.get_by_role("button", name="Another seed")).to_be_hidden()
    page.get_by_label("Steps", exact=True).fill("40")
    page.get_by_role("button", name="Estimate").click()
    expect(page.locator("#estimate")).to_contain_text("Takes")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("40")
    page.get_by_role("button", name="Start training").click()
    job = client.jobs.get(page.url.rsplit("/", 1)[1])
    job.wait(timeout=90)
    page.goto(page.url)
    expect(badge(page)).to_have_text("succeeded")
    expect(page.locator("svg.curve")).to_be_visible()
    page.get_by_role("link", name="Generate with it").click()
    page.get_by_label("Pictures", exact=True).fill("3")
    page.get_by_role("button", name="Estimate").click()
    expect(page.locator("#estimate")).to_contain_text("Takes")
    page.get_by_role("button", name="Generate", exact=True).click()
    client.jobs.get(page.url.rsplit("/", 1)[1]).wait(timeout=90)
    page.goto(page.url)
    expect(page.locator("#job-results img")).to_have_count(3)


@pytest.fixture(scope="module")
def generation(client, digits):
    """A finished generation of four pictures."""
    made = client.jobs.submit(
        "train", TINY | {"steps": 60}, family="vae", dataset_id=digits.id, name="tiny"
    ).wait(timeout=120)
    model_id = made.result["model_id"]
    job = client.jobs.submit(
        "generate", {"count": 4}, model_id=model_id, seed=4711, name="four"
    ).wait(timeout=120)
    assert job.state == "succeeded"
    return job


DROP = """async (url) => {
  const data = new DataTransfer();
  data.items.add(new File([await (await fetch(url)).blob()], "0002.png"));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.mark.slow
def test_a_picture_dropped_on_the_form_brings_its_parameters_back(page_at, generation):
    page = page_at()
    page.goto(f"/generate/{generation.model_id}")
    page.evaluate(DROP, f"/api/v1/artifacts/{generation.artifacts[2].id}/content")
    page.wait_for_url(re.compile("from="))
    expect(page.get_by_label("Seed")).to_have_value("4711")
    expect(page.get_by_label("Pictures", exact=True)).to_have_value("4")
    page.goto(f"/jobs/{generation.id}")
    page.get_by_role("link", name="Remix").click()
    expect(page.get_by_label("Seed")).to_have_value("")
    expect(page.get_by_label("Pictures", exact=True)).to_have_value("4")


@pytest.mark.slow
def test_results_appear_where_room_was_kept(page_at, client, generation):
    page = page_at()
    page.add_init_script(SHIFT)
    page.goto(f"/generate/{generation.model_id}")
    page.get_by_label("Pictures", exact=True).fill("12")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator("#job-results img")).to_have_count(12, timeout=ENDS)
    assert page.evaluate("window.shift") < 0.05


@pytest.mark.slow
def test_a_text_is_read_while_it_is_written(page_at, client):
    texts = client.datasets.add(sample="python-docs").wait()
    small = {"steps": 150, "hidden_size": 64, "embedding_size": 16, "validate_every": 150}
    made = client.jobs.submit("train", small, family="lstm", dataset_id=texts.id)
    made.wait(timeout=180)
    page = page_at()
    page.goto(f"/generate/{made.result['model_id']}")
    page.locator('[name="params.max_new_tokens"]').fill("20000")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_url(re.compile("/jobs/"))
    until(page, "document.querySelector('[data-text-of=\"0\"]')?.textContent.length > 20")
    expect(badge(page)).to_have_text("succeeded", timeout=ENDS)
    expect(page.locator("#job-results figcaption a").first).to_be_visible()


@pytest.mark.slow
def test_the_end_of_a_job_is_told_on_another_page(page_at, training):
    page = page_at()
    page.context.grant_permissions(["notifications"])
    page.add_init_script(
        "window.told = []; const Old = Notification; window.Notification = class {"
        " static permission = 'granted'; static requestPermission = async () => 'granted';"
        " constructor(title, options) { window.told.push(options.body); } addEventListener() {} };"
    )
    page.goto("/jobs")
    page.locator(".rail-foot summary").click()
    page.get_by_role("button", name="Notices").click()
    page.get_by_label("Show a notification").check()
    page.locator("#notices").get_by_role("button", name="Close").click()
    job = training(steps=400)
    page.goto("/queue")
    page.evaluate("document.hasFocus = () => false")  # another window is in front
    wait_until(lambda: job.refresh().has_ended, 90)
    until(page, "document.title.startsWith('(1 done) ')")
    assert page.locator("link[rel=icon]").get_attribute("href").endswith("favicon-done.svg")
    assert "is done" in page.evaluate("window.told[0]")
    expect(page.locator(".toast a")).to_have_attribute("href", f"/jobs/{job.id}")
    page.keyboard.press("Shift")
    until(page, "!document.title.startsWith('(')")


@pytest.mark.slow
def test_the_form_and_the_job_in_chinese(page_at, digits, training):
    page = page_at(language="zh-CN")
    page.goto(f"/train/vae?dataset_id={digits.id}")
    expect(page.locator("#estimate")).to_contain_text("约")
    steps = page.locator('[name="params.steps"]')
    steps.fill("0")
    expect(page.locator("#p-steps-error")).to_contain_text("不能小于 1")
    assert axe(page) == []
    job = training(steps=60)
    page.goto(f"/jobs/{job.id}")
    expect(badge(page)).to_have_text("成功", timeout=ENDS)
    assert fits(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme", "language"),
    [
        (1440, "light", "en-GB"),
        (1440, "dark", "en-GB"),
        (390, "light", "en-GB"),
        (1440, "light", "zh-CN"),
    ],
)
def test_how_they_look(page_at, generation, digits, width, scheme, language):
    page = page_at(width, scheme, language)
    training_id = page.request.get(f"/api/v1/models/{generation.model_id}").json()["job_id"]
    for name, path in {
        "train-form": f"/train/vae?dataset_id={digits.id}",
        "generate": "/generate",
        "generate-form": f"/generate/{generation.model_id}",
        "job-training": f"/jobs/{training_id}",
        "job-generation": f"/jobs/{generation.id}",
    }.items():
        page.goto(path)
        if name == "job-training":
            expect(page.locator(".curve-room canvas")).to_be_visible()
        assert fits(page), name
        shoot(page, f"{name}-{width}-{scheme}-{language}")


@pytest.mark.slow
def test_what_somebody_held_at_the_end_is_renewed_afterwards(page_at, training):
    page = page_at()
    job = training(steps=500_000)
    page.goto(f"/jobs/{job.id}")
    page.locator("#job-head summary").first.focus()
    job.cancel()
    page.locator("#job-follow").wait_for(state="detached", timeout=ENDS)
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()  # not taken away
    page.evaluate("document.activeElement.blur()")
    expect(badge(page)).to_have_text("cancelled")
    expect(page.locator("[data-says]")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


@pytest.mark.slow
def test_a_draft_outlives_a_submit_that_failed_and_not_its_job(page_at, digits, watch):
    watch.allowed += ["ERR_CONNECTION_RESET", "ERR_FAILED"]
    page = page_at()
    address = f"/train/vae?dataset_id={digits.id}"
    drafts = "Object.keys(localStorage).filter((key) => key.startsWith('draft:')).length"
    page.goto(address)
    steps = page.get_by_label("Steps", exact=True)
    steps.fill("20")
    page.route("**/train/vae", lambda route: route.abort("connectionreset"))
    page.get_by_role(
        "button", name="Start training"
    ).click()  # before the draft's own pause is over
    page.wait_for_timeout(500)
    page.unroute("**/train/vae")
    page.goto(address)
    expect(steps).to_have_value("20")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile("/jobs/"))
    until(page, f"{drafts} === 0")
    job = page.url.rsplit("/", 1)[1]

    # what another job gives and what was typed upon it is one draft, whole
    page.goto(f"/train/vae?from={job}&use=remix")
    expect(steps).to_have_value("20")
    page.get_by_label("Name of the model").fill("again")
    page.goto(address)  # at once: the page that is left keeps it
    expect(steps).to_have_value("20")
    expect(page.get_by_label("Name of the model")).to_have_value("again")
    # one thing taken from a job leaves the rest of the draft
    seed = page.request.get(f"/api/v1/jobs/{job}").json()["seed"]
    page.goto(f"/train/vae?from={job}&use=seed")
    expect(page.get_by_label("Seed")).to_have_value(str(seed))
    expect(page.get_by_label("Name of the model")).to_have_value("again")
    assert page.evaluate(drafts) == 1
    # the session stays for the other tests
    page.route("**/sign-out", lambda route: route.fulfill(body="signed out"))
    page.locator(".rail-foot summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("signed out").wait_for()
    assert page.evaluate(drafts) == 0


@pytest.mark.slow
def test_the_list_of_jobs_is_live(page_at, training):
    page = page_at()
    job = training(steps=500_000)
    page.goto("/jobs")
    row = page.locator("tr", has=page.locator(f'a[href="/jobs/{job.id}"]'))
    job.cancel()
    expect(row.locator(".badge")).to_have_text("cancelled", timeout=ENDS)


@pytest.mark.slow
def test_trying_a_model_keeps_its_form_when_it_is_refused(page_at, generation, watch):
    watch.allowed.append("422")
    page = page_at()
    page.goto(f"/models/{generation.model_id}")
    form = page.locator("form[data-try]")
    fields = form.locator(".field").count()
    form.get_by_label("Name of this generation").fill("mine")
    form.get_by_label("Seed").fill("not a number")
    form.get_by_role("button", name="Generate").click()
    expect(form.locator("#f-seed-error")).to_be_visible()
    assert form.locator(".field").count() == fields
    expect(form.get_by_label("Name of this generation")).to_have_value("mine")
    assert page.evaluate("document.activeElement.name") == "seed"
    form.get_by_label("Seed").fill("7")
    form.get_by_role("button", name="Generate").click()
    expect(page.locator("#tried .badge")).to_have_text("succeeded", timeout=ENDS)
    expect(form.locator(".notice.error")).to_have_count(0)
    expect(page.locator('[data-says="#tried .badge"]')).to_have_text("succeeded")
