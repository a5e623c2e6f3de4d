"""Readiness after `atelier up`, and the memory of the web process."""

from __future__ import annotations

import psutil

from tests.installation import Installation


def main() -> None:
    for number in range(3):
        atelier = Installation()
        with atelier:
            client = atelier.user(f"user{number}")
            for _ in range(200):
                client.families.list()
            web = [
                process
                for process in atelier.processes()
                if "web" in " ".join(process.cmdline()[:4]) and "up" not in process.cmdline()
            ]
            sizes = {
                " ".join(process.cmdline()[1:4])[:60]: process.memory_info().rss >> 20
                for process in web
                if process.status() != psutil.STATUS_ZOMBIE
            }
            print(f"ready after {atelier.ready_seconds:.2f} s; MiB of web: {sizes}")
