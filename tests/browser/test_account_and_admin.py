"""Accounts and administration in a browser: tokens, sessions, language, invitations, workers, the disk, the audit."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, axe, fits, shoot
from tests.installation import Installation

pytestmark = pytest.mark.slow

ADMIN_PAGES = ("/people", "/admin/queue", "/admin/storage", "/admin/audit")
PAGES = ("/datasets", "/models", "/queue", "/account")


@pytest.fixture(scope="module")
def atelier():
    with Installation(threads="2", sign_up="invite") as found:
        found.families(found.user(), "vae")
        yield found


def test_a_token_is_shown_once_works_within_its_scope_and_is_revoked(page_at, atelier):
    page = page_at()
    page.goto("/account")
    page.get_by_label("Name of a new token").fill("reader")
    page.get_by_label("Days until it expires").fill("7")
    page.get_by_label("datasets:read").check()
    page.get_by_role("button", name="Create a token").click()
    token = page.locator(".notice .copyable pre").inner_text()
    assert axe(page) == []
    head = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{atelier.url}/api/v1", headers=head) as asks:
        assert asks.get("/datasets").status_code == 200
        assert asks.get("/jobs").status_code == 403
        page.goto("/account")
        assert token not in page.content()
        page.get_by_role("row", name="reader").get_by_role("button", name="Revoke").click()
        page.get_by_text("The token is revoked.").wait_for()
        assert asks.get("/datasets").status_code == 401


def test_other_browsers_are_signed_out_at_once(page_at, atelier, chromium):
    page, contexts = page_at(), []
    for _ in range(2):
        contexts.append(chromium.new_context(base_url=atelier.url))
        other = contexts[-1].new_page()
        other.goto("/sign-in")
        other.get_by_label("Name").fill("ann")
        other.get_by_label("Password").fill(PASSWORD)
        other.get_by_role("button", name="Sign in").click()
        other.wait_for_url("**/")
    page.goto("/account")
    page.get_by_role("button", name="Sign out all others").click()
    page.get_by_text("2 browsers are signed out.").wait_for()
    assert page.get_by_text("this one").is_visible()
    for context in contexts:
        context.pages[0].goto("/account")
        assert "/sign-in" in context.pages[0].url
        context.close()


def test_the_language_of_an_account_holds_in_a_new_browser(page_at):
    page = page_at()
    page.goto("/account")
    page.get_by_label("Language of the pages").select_option("zh_Hans_CN")
    page.locator("form", has=page.locator("[name=language]")).get_by_role("button").click()
    page.get_by_role("heading", name="已登录的浏览器").wait_for()
    other = page_at()
    other.goto("/queue")
    other.get_by_role("heading", name="队列", level=1).wait_for()
    page.locator("select[name=language]").select_option("")
    page.locator("form", has=page.locator("[name=language]")).get_by_role("button").click()
    page.get_by_role("heading", name="Signed-in browsers").wait_for()


def test_an_invitation_is_made_used_and_told(page_at, atelier):
    admin = page_at(who="admin")
    admin.goto("/people")
    admin.get_by_label("For whom").fill("the new one")
    admin.get_by_role("button", name="Invite").click()
    link = admin.locator(".notice .copyable pre").inner_text()
    guest = page_at(who=None)
    guest.goto(link)
    assert axe(guest) == []
    guest.get_by_label("Name").fill("newcomer")
    guest.locator("[name=password]").fill(PASSWORD)
    guest.locator("[name=again]").fill(PASSWORD)
    guest.locator("main button[type=submit]").click()
    guest.get_by_role("heading", name="Hello, newcomer").wait_for()
    admin.goto("/admin/audit?action=sign_up")
    admin.get_by_role("row", name="newcomer").first.wait_for()

    admin.goto("/people")
    admin.get_by_role("link", name="newcomer").click()
    admin.locator("[name=max_queued_jobs]").fill("1")
    admin.locator("form", has=admin.locator("[name=weight]")).get_by_role("button").click()
    admin.get_by_text("Saved.").wait_for()
    admin.locator("summary", has_text="Deactivate…").click()
    admin.get_by_role("button", name="Deactivate", exact=True).click()
    admin.get_by_text("Saved.").wait_for()
    guest.goto("/account")
    assert "/sign-in" in guest.url


def test_a_worker_is_drained_and_works_again(page_at, atelier):
    admin = page_at(who="admin")
    admin.goto("/admin/queue")
    row = admin.get_by_role("row", name="device-0")
    row.locator("summary", has_text="Drain…").click()
    row.get_by_role("button", name="Drain it").click()
    admin.get_by_text("The worker takes nothing new").wait_for()
    admin.get_by_role("row", name="device-0").get_by_text("draining").wait_for()

    ann = atelier.clients["ann"]
    dataset = ann.datasets.add(sample="digits").wait(timeout=60)
    job = ann.jobs.submit("train", {"steps": 5}, family="vae", dataset_id=dataset["id"])
    page = page_at()
    page.goto("/queue")
    page.get_by_role("row", name="vae").get_by_text("no worker that can run it is there").wait_for()
    shoot(page, "queue-drained")

    admin.goto("/admin/queue")
    admin.get_by_role("button", name="Let it work again").click()
    assert job.wait(timeout=120)["state"] == "succeeded"
    admin.goto("/admin/audit?action=worker_drained")
    assert admin.get_by_role("row", name="worker drained").count() == 1


def test_only_administrators_see_these_pages(page_at, watch):
    watch.allowed.append("403")
    page = page_at()
    for path in ADMIN_PAGES:
        assert page.goto(path).status == 403


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_fits_and_can_be_read_by_all(page_at, width, language):
    page = page_at(width, "dark" if width == 390 else "light", language, who="admin")
    for path in (*PAGES, *ADMIN_PAGES):
        page.goto(path)
        assert fits(page), path
        assert axe(page) == [], path
        shoot(page, f"{path.strip('/').replace('/', '-')}-{width}-{language}")
        if language == "zh-CN":
            heading = page.locator("main").inner_text()
            assert any("\u4e00" <= character <= "\u9fff" for character in heading), path


def test_the_forms_of_administrators_need_no_script(page_at):
    page = page_at(who="admin", script=False)
    page.goto("/admin/storage")
    page.get_by_role("button", name="Sweep now").click()
    page.get_by_text("A sweep is ordered").wait_for()
    page.goto("/admin/audit")
    page.get_by_label("What", exact=True).select_option("user_created")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("row", name="user created").first.wait_for()
    page.goto("/people")
    page.get_by_label("Name").fill("byform")
    page.get_by_role("button", name="Make the account").click()
    assert "/welcome/" in page.locator(".notice .copyable pre").inner_text()
    page.goto("/account")
    page.get_by_label("Name of a new token").fill("plain")
    page.get_by_role("button", name="Create a token").click()
    assert page.locator(".notice .copyable pre").inner_text().startswith("atelier_")


@pytest.mark.parametrize("throws", [True, False])
def test_notifications_that_the_browser_cannot_show_are_not_promised(page_at, throws):
    page = page_at()
    body = "throw new TypeError('Illegal constructor')" if throws else ""
    page.add_init_script(
        "window.Notification = class { static permission = 'granted';"
        " static requestPermission = async () => 'granted';"
        f" constructor() {{ {body} }} addEventListener() {{}} }};"
    )
    page.goto("/account")
    page.get_by_role("button", name="Choose…").click()
    box = page.get_by_label("Show a notification")
    box.click()
    if throws:
        page.get_by_text("does not allow notifications").wait_for()
    expect(box).to_be_checked(checked=not throws)
