"""`make screenshots`: every page with real content, as people of four kinds see it, in build/screenshots; and the
pictures of the README in docs/images. A contact sheet of each kind shows them at one glance.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from atelier_client import Client
from shared.config import Settings
from shared.db import Database
from tests.browser.conftest import (
    SCREENSHOTS,
    SIZES,
    browser_arguments,
    choose_password,
    chromium_path,
    first_run_link,
)
from tests.installation import ROOT, Installation
from tests.webhook_rows import add_webhook

IMAGES = ROOT / "docs" / "images"
# name: (width, scheme, language)
KINDS = {
    "light": (1440, "light", "en-GB"),
    "dark": (1440, "dark", "en-GB"),
    "phone": (390, "light", "en-GB"),
    "chinese": (1440, "light", "zh-CN"),
}
# page of the README: (kind, file)
README = {
    "home": ("light", "home.webp"),
    "training": ("light", "training.webp"),
    "results": ("dark", "results.webp"),
    "model": ("chinese", "model.webp"),
}
POEMS = """\
床前明月光，疑是地上霜。举头望明月，低头思故乡。
春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。
白日依山尽，黄河入海流。欲穷千里目，更上一层楼。
红豆生南国，春来发几枝。愿君多采撷，此物最相思。
千山鸟飞绝，万径人踪灭。孤舟蓑笠翁，独钓寒江雪。
松下问童子，言师采药去。只在此山中，云深不知处。
"""


class Content:
    """What a studio has after a day: data, models, results, a job that runs and one that failed."""

    def __init__(self, atelier: Installation, client: Client, steps: int) -> None:
        self.client = client
        with tempfile.TemporaryDirectory() as folder:
            poems = Path(folder) / "poems.txt"
            poems.write_text(POEMS * 20)
            self.digits = self._data(
                client.datasets.add(sample="digits", name="Handwritten digits")
            )
            self.docs = self._data(
                client.datasets.add(sample="python-docs", name="Python's manual")
            )
            self.poems = self._data(client.datasets.add([poems], name="唐诗"))
        vae = {"steps": steps, "batch_size": 64}
        self.training = self._train("vae", self.digits, "Handwritten digits", **vae)
        text = {"steps": max(20, steps // 4), "tokenizer": "characters", "block_size": 64}
        self.writer = self._train("lstm", self.poems, "唐诗 writer", **text)
        self.pictures = [
            self._generate(self.training, {"count": 8, "class_label": str(digit)}, f"Digit {digit}")
            for digit in (3, 7)
        ]
        self.text = self._generate(self.writer, {"prompt": "明月", "max_new_tokens": 60}, "明月")
        # goes on while the pictures are taken
        running = {"steps": 200_000, "batch_size": 8, "tokenizer": "characters", "block_size": 64}
        self.running = self._submit("transformer_lm", self.docs, "Manual writer", running)
        self.waiting = self._submit("vae", self.digits, "Digits, longer", {"steps": 5000})
        self.webhook = self._webhook(atelier)

    def _webhook(self, atelier: Installation) -> str:
        db = Database(Settings(data=atelier.folder).database)
        try:
            return add_webhook(db, self.client.me().id, self.training["id"], "Lab notebook")
        finally:
            db.dispose()

    def _data(self, made: dict) -> str:
        return self.client.datasets.wait(made["id"], timeout=120)["id"]

    def _submit(self, family: str, dataset: str, name: str, params: dict) -> dict:
        return self.client.jobs.submit(
            "train", params, family=family, dataset_id=dataset, name=name, seed=7
        )

    def _train(self, family: str, dataset: str, name: str, **params) -> dict:
        job = self._submit(family, dataset, name, params)
        return self._ended(job)

    def _generate(self, training: dict, params: dict, name: str) -> dict:
        model = training["result"]["model_id"]
        return self._ended(
            self.client.jobs.submit("generate", params, model_id=model, name=name, seed=7)
        )

    def _ended(self, job: dict) -> dict:
        ended = self.client.jobs.wait(job["id"])
        assert ended["state"] == "succeeded", ended
        return ended

    def pages(self) -> dict[str, str]:
        """Name and path of every page that has content of its own."""
        model, picture = self.training["result"]["model_id"], self.pictures[0]
        return {
            "home": "/",
            "datasets": "/datasets",
            "dataset": f"/datasets/{self.digits}",
            "dataset-text": f"/datasets/{self.poems}",
            "train": "/train",
            "train-new": f"/train/vae?dataset_id={self.digits}",
            "models": "/models",
            "model": f"/models/{model}",
            "generate": f"/generate/{model}",
            "jobs": "/jobs",
            "running": f"/jobs/{self.running['id']}",
            "training": f"/jobs/{self.training['id']}",
            "generation": f"/jobs/{picture['id']}",
            "generation-text": f"/jobs/{self.text['id']}",
            "artifact": f"/artifacts/{picture['result']['artifacts'][0]['id']}",
            "results": "/results",
            "queue": "/queue",
            "account": "/account",
            "webhooks": "/account/webhooks",
            "webhook": f"/account/webhooks/{self.webhook}",
            "help": "/help",
            "help-family": "/help/vae",
            "api": "/docs",
            "style": "/style",
            "missing": "/jobs/none",
        }


GUEST_PAGES = {"sign-in": "/sign-in"}
ADMIN_PAGES = {
    "people": "/people",
    "admin-queue": "/admin/queue",
    "admin-storage": "/admin/storage",
    "admin-audit": "/admin/audit",
}


def shots(
    browser: Browser, url: str, kind: str, pages: dict[str, str], state=None
) -> Iterator[tuple[str, Path]]:
    width, scheme, language = KINDS[kind]
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": SIZES[width]},
        color_scheme=scheme,
        locale=language,
        reduced_motion="reduce",
        storage_state=state,
    )
    page = context.new_page()
    for name, path in pages.items():
        answer = page.goto(path)
        if answer is not None and answer.status == 404 and name != "missing":
            print(f"{name}: no page at {path}")
            continue
        page.wait_for_timeout(400)
        target = SCREENSHOTS / kind / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=target, full_page=name != "api", timeout=90_000)
        yield name, target
    context.close()


def contact_sheet(kind: str, paths: list[Path], width: int = 360, height: int = 460) -> None:
    columns = 5
    rows = -(-len(paths) // columns)
    sheet = Image.new("RGB", (columns * (width + 12), rows * (height + 12)), "#888")
    for number, path in enumerate(paths):
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small = small.resize((width, max(1, picture.height * width // picture.width)))
            row, column = divmod(number, columns)
            place = (column * (width + 12) + 6, row * (height + 12) + 6)
            sheet.paste(small.crop((0, 0, width, min(height, small.height))), place)
    sheet.save(SCREENSHOTS / f"sheet-{kind}.png")


def for_readme(name: str, path: Path) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as picture:
        shown = picture.convert("RGB").crop((0, 0, picture.width, min(900, picture.height)))
        shown.resize((1080, shown.height * 1080 // shown.width), Image.Resampling.LANCZOS).save(
            IMAGES / README[name][1], quality=82, method=6
        )


def signed_in(browser: Browser, link: str) -> dict:
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    choose_password(page)
    state = context.storage_state()
    context.close()
    return dict(state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600, help="of the sample trainings")
    parser.add_argument("--only", default="", help="a pattern for the names of the pages")
    arguments = parser.parse_args()
    with Installation(threads="2") as atelier, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=browser_arguments()
        )
        admin = signed_in(browser, first_run_link(atelier))
        client = atelier.user("ann")
        atelier.families(client, "vae", "lstm", "transformer_lm")
        content = Content(atelier, client, arguments.steps)
        ann = signed_in(browser, atelier.atelier("user", "passwd", "ann"))
        for kind in KINDS:
            taken: dict[str, Path] = {}
            for pages, state in (
                (GUEST_PAGES, None),
                (content.pages(), ann),
                (ADMIN_PAGES, admin),
            ):
                chosen = {n: path for n, path in pages.items() if re.search(arguments.only, n)}
                taken |= dict(shots(browser, atelier.url, kind, chosen, state))
            contact_sheet(kind, list(taken.values()))
            for name, (wanted, _file) in README.items():
                if wanted == kind and name in taken:
                    for_readme(name, taken[name])
            print(f"{kind}: {len(taken)} pages")
        client.jobs.cancel(content.running["id"])
        browser.close()


if __name__ == "__main__":
    main()
