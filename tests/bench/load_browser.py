"""One real browser beside many event streams: how soon a job's page shows a change, how soon web answers.

A job is paused and resumed again and again; a change counts from before its request is sent until the page of
Chromium shows it. Bars: the page p95 <= 200 ms after, answers p95 <= 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from playwright.async_api import Browser, Page, async_playwright

from tests.bench.load_streams import STREAM
from tests.bench.loaded import loaded, quantile
from tests.bench.raw_http import Line
from tests.bench.verdicts import verdict
from tests.browser.conftest import PASSWORD, browser_arguments, chromium_path

ASK_SECONDS = 0.1
# Each time the page offers to resume what it offered to pause, or the other way round.
OBSERVE = """() => {
  window.seen = [];
  let before = null;
  const look = () => {
    const now = document.querySelector('form[action$="/resume"]') !== null;
    if (now !== before) window.seen.push(Date.now());
    before = now;
  };
  look();
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""


async def signed_in(browser: Browser, atelier) -> Page:
    page = await browser.new_page()
    await page.goto(atelier.atelier("user", "passwd", "ann"))
    await page.locator("[name=password]").fill(PASSWORD)
    await page.locator("[name=again]").fill(PASSWORD)
    await page.locator("main button[type=submit]").click()
    await page.wait_for_url("**/")
    return page


async def asked(here, job_id: str, answers: list[float]) -> None:
    line = Line(here.atelier.port, here.token)
    while True:
        began = time.perf_counter()
        status, _, _ = await line.ask("GET", f"/jobs/{job_id}")
        assert status == 200, status
        answers.append(time.perf_counter() - began)
        await asyncio.sleep(ASK_SECONDS)


async def change(here, page: Page, job_id: str, changes: int) -> list[float]:
    """Seconds from each change to the page's showing it; of what is not shown within 10 s none."""
    line, shown = Line(here.atelier.port, here.token), []
    await page.evaluate(OBSERVE)
    for number in range(changes):
        await asyncio.sleep(1)
        before = await page.evaluate("window.seen.length")
        began = time.time()
        status, _, body = await line.ask(
            "POST", f"/jobs/{job_id}/{('pause', 'resume')[number % 2]}"
        )
        assert status == 200, body
        while time.time() < began + 10:
            if await page.evaluate("window.seen.length") > before:
                shown.append(await page.evaluate(f"window.seen[{before}]") / 1000 - began)
                break
            await asyncio.sleep(0.05)
    return shown


async def run(here, ids: list[str], watched: str, changes: int) -> tuple[list[float], list[float]]:
    lines = [Line(here.atelier.port, here.token) for _ in ids]
    opened = [
        line.ask("GET", f"/jobs/{job_id}/events", accept=STREAM)
        for line, job_id in zip(lines, ids, strict=True)
    ]
    assert {status for status, _, _ in await asyncio.gather(*opened)} == {200}
    answers: list[float] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=browser_arguments()
        )
        page = await signed_in(browser, here.atelier)
        await page.goto(f"{here.atelier.url}/jobs/{watched}")
        asker = asyncio.create_task(asked(here, watched, answers))
        shown = await change(here, page, watched, changes)
        asker.cancel()
        await browser.close()
    for line in lines:
        line.close()
    return shown, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--changes", type=int, default=40)
    arguments = parser.parse_args()
    count = arguments.streams
    with loaded(event_streams=str(count + 20), web_threads=str(count + 84)) as here:
        here.drain(True)
        time.sleep(2)
        *ids, watched = here.queue(here.user_id("ann"), count + 1)
        shown, answers = asyncio.run(run(here, ids, watched, arguments.changes))
    print(f"{count} streams, {len(answers)} answers")
    print(
        f"  page: median {1000 * quantile(shown, 0.5):.0f} ms, longest {1000 * max(shown):.0f} ms"
    )
    print(f"  answers: median {1000 * quantile(answers, 0.5):.0f} ms")
    verdict("shown by the page after, p95", 1000 * quantile(shown, 0.95), 200, "ms")
    verdict("answered after, p95", 1000 * quantile(answers, 0.95), 100, "ms")
    verdict("not shown", arguments.changes - len(shown), 0, "changes")
