"""A real Chromium on a real installation: every page is watched for errors of scripts and of the content policy."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.installation import ROOT, Installation

PASSWORD = "correct horse battery"
SCREENSHOTS = ROOT / "build" / "screenshots"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# width: height of the window
SIZES = {390: 844, 820: 1180, 1440: 900}
SERIOUS = ("serious", "critical")


def chromium_path() -> str:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, (
        "no Chromium: `make test` installs it for root, or apt-get install chromium fonts-noto-cjk"
    )
    return path


def browser_arguments() -> list[str]:
    return [
        "--no-sandbox",
        # nothing but this machine
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-background-networking",
        "--disable-component-update",
    ]


@pytest.fixture(scope="session")
def chromium():
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=browser_arguments())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def atelier():
    """An installation with a device worker and a cpu worker, and an account named ann."""
    with Installation(threads="2") as found:
        found.families(found.user(), "vae")
        yield found


@pytest.fixture(scope="module")
def signed_in(atelier, chromium):
    """`signed_in("ann")`: what a browser holds once that account has chosen its password by its link."""
    states: dict[str, dict] = {}

    def state_of(name: str):
        if name not in states:
            context = chromium.new_context()
            page = context.new_page()
            page.goto(
                first_run_link(atelier)
                if name == "admin"
                else atelier.atelier("user", "passwd", name)
            )
            choose_password(page)
            states[name] = context.storage_state()
            context.close()
        return states[name]

    return state_of


def first_run_link(atelier) -> str:
    found = re.search(r"http://\S+/welcome/\S+", atelier.log())
    assert found, atelier.log()[-2000:]
    return found[0]


def choose_password(page) -> None:
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("[name=again]").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.wait_for_url("**/")


class Watch:
    """Errors of scripts, of the content policy, and of what a page loads."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.allowed: list[str] = []  # parts of messages that a test provokes

    def add(self, page) -> None:
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._hear(page, message))

    def _hear(self, page, message) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{page.url}: {message.text} {message.location.get('url', '')}")

    def unexpected(self) -> list[str]:
        return [one for one in self.errors if not any(part in one for part in self.allowed)]


@pytest.fixture(autouse=True)
def watch():
    found = Watch()
    yield found
    assert not found.unexpected()


@pytest.fixture
def page_at(chromium, atelier, signed_in, watch):
    """`page_at(390, "dark", "zh-CN", who="ann")`: a page of its own browser window, closed at the end."""
    contexts = []

    def opened(width=1440, scheme="light", language="en-GB", who: str | None = "ann", script=True):
        context = chromium.new_context(
            base_url=atelier.url,
            viewport={"width": width, "height": SIZES.get(width, 900)},
            color_scheme=scheme,
            locale=language,
            java_script_enabled=script,
            reduced_motion="reduce",
            storage_state=signed_in(who) if who else None,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        watch.add(page)
        return page

    yield opened
    for context in contexts:
        context.close()


def axe(page) -> list[str]:
    """What axe-core finds serious on the page as it stands."""
    # evaluated by the browser's own door, which no content policy holds back
    page.evaluate(AXE.read_text())
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['id']}: {one['help']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def fits(page) -> bool:
    """Whether nothing makes the page scroll sideways."""
    return page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def shoot(page, name: str, full: bool = True) -> Path:
    """A picture in build/screenshots, to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=full)
    return path
