"""A real browser on a real server with 1,250 jobs and 5,000 results: when the first byte comes, when a page is usable.

Usable is the end of DOMContentLoaded: all is drawn and styled, and its scripts have run. Bars: p95 <= 100 ms, and
<= 500 ms.
"""

from __future__ import annotations

import argparse

from playwright.sync_api import sync_playwright

from shared.config import read_settings
from shared.db import Database
from shared.storages import open_storage
from tests.bench.gallery import SECRET, fill
from tests.bench.loaded import quantile
from tests.bench.verdicts import verdict
from tests.browser.conftest import browser_arguments, chromium_path
from tests.installation import Installation

PAGES = {
    "home": "/",
    "job": "/jobs/{job}",
    "results": "/results",
    "a result": "/artifacts/{artifact}",
}
LOOK_MILLISECONDS = 300  # people look before they go on; the small pictures come meanwhile
# of this load alone, by the browser's own clock
TIMES = """() => {
  const { responseStart, domContentLoadedEventEnd } = performance.getEntriesByType('navigation')[0];
  return [responseStart, domContentLoadedEventEnd];
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with Installation() as atelier, sync_playwright() as playwright:
        named = {k: v for k, v in atelier.environment.items() if k.startswith("ATELIER_")}
        settings = read_settings(named)
        db = Database(settings.database)
        ids = fill(db, open_storage(settings))
        db.dispose()
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=browser_arguments()
        )
        context = browser.new_context(base_url=atelier.url)
        context.add_cookies([{"name": "atelier", "value": SECRET, "url": atelier.url}])
        page = context.new_page()
        found: dict[str, list[list[float]]] = {name: [] for name in PAGES}
        for number in range(1 + rounds):  # the first is that of a server which nobody has asked yet
            for name, path in PAGES.items():
                answer = page.goto(path.format(**ids))
                assert answer is not None and answer.status == 200, path
                if number:
                    found[name].append(page.evaluate(TIMES))
                page.wait_for_timeout(LOOK_MILLISECONDS)
        browser.close()
    for name, times in found.items():
        first, usable = zip(*times, strict=True)
        print(f"{name}: median {quantile(first, 0.5):.0f} and {quantile(usable, 0.5):.0f} ms")
        verdict("first byte, p95", quantile(first, 0.95), 100, "ms")
        verdict("usable, p95", quantile(usable, 0.95), 500, "ms")
