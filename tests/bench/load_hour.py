"""Small jobs for a long time, 20 a second over HTTP: what grows of memory, descriptors, Redis and the WAL.

`--minutes 60` is the real thing; shorter runs reckon the growth of an hour from their second half, by least squares,
because every process is still warming up in the first. Bars an hour: 20 MB for each process, 5 MB for Redis; the WAL
below 64 MB, the descriptors where they were, and no more queued at the end than are sent in 10 s. A submit is timed
from when it was due. A process that was started anew is a series of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import psutil

from shared.queue import redis_client
from tests.bench.loaded import loaded, quantile
from tests.bench.raw_http import Line
from tests.bench.verdicts import at_least, verdict

JOBS_A_SECOND = 20
LOOK_SECONDS = 10.0
MOST_WAL_MB = 64
LINES = 8
FEWEST_LOOKS = 12  # a runner that lives shorter is still warming up
MB = 1e6


class Sizes:
    """Samples of everything that could grow: {name: [(seconds, value)]}."""

    def __init__(self, here) -> None:
        self._here = here
        self._began = time.monotonic()
        self.samples: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def look(self) -> None:
        at = time.monotonic() - self._began
        for name, process in self._processes():
            with suppress(psutil.Error):
                self.samples[f"{name} MB"].append((at, process.memory_info().rss / MB))
                self.samples[f"{name} descriptors"].append((at, process.num_fds()))
        with redis_client(self._here.settings) as client:
            self.samples["redis MB"].append((at, client.info("memory")["used_memory"] / MB))
        wal = Path(f"{self._here.settings.data}/atelier.db-wal")
        self.samples["wal MB"].append((at, wal.stat().st_size / MB if wal.exists() else 0.0))

    def _processes(self):
        atelier = self._here.atelier
        for process in atelier.named("web"):
            yield f"web {process.pid}", process
        # by pid: of a process that was replaced the new one is not the old one grown or shrunk
        for name, found in (
            ("main", atelier.mains()),
            ("child", atelier.children()),
            ("cpu", atelier.named("cpu")),
            ("runner", atelier.named("runner")),
        ):
            for process in found:
                yield f"{name} {process.pid}", process

    def growth(self, name: str) -> float:
        """An hour's, by least squares over the second half."""
        points = self.samples[name][len(self.samples[name]) // 2 :]
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
        return 3600 * slope


async def submit(here, until: float, number: int, sent: list[float]) -> None:
    line, at = Line(here.atelier.port, here.token), time.monotonic()
    params = {"count": 1, "steps": 1, "step_seconds": 0.0}
    body = {"kind": "generate", "model_id": here.model["id"], "params": params}
    at += number / JOBS_A_SECOND
    while max(at, time.monotonic()) < until:
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        status, _, answer = await line.ask("POST", "/jobs", body=body)
        assert status == 202, answer
        sent.append(time.monotonic() - at)
        at += LINES / JOBS_A_SECOND
    line.close()


async def run(here, minutes: float) -> tuple[Sizes, list[float]]:
    sizes, sent = Sizes(here), []
    until = time.monotonic() + 60 * minutes
    tasks = [asyncio.create_task(submit(here, until, n, sent)) for n in range(LINES)]
    while time.monotonic() < until:
        await asyncio.to_thread(sizes.look)
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.gather(*tasks)
    return sizes, sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with loaded() as here:
        sizes, sent = asyncio.run(run(here, minutes))
        waiting = len(here.client.jobs.list(state="queued", limit=1000))
    print(f"{len(sent)} jobs in {minutes:g} minutes, {len(sent) / minutes / 60:.1f} a second")
    print(
        f"  submit p50 {1000 * quantile(sent, 0.5):.0f}, p95 {1000 * quantile(sent, 0.95):.0f} ms"
    )
    long = {name: one for name, one in sizes.samples.items() if len(one) >= FEWEST_LOOKS}
    for name, samples in sorted(long.items()):
        values = [value for _, value in samples]
        print(
            f"  {name:20} first {values[0]:8.1f}, last {values[-1]:8.1f}, most {max(values):8.1f}"
        )
    short = [one for name, one in sizes.samples.items() if name not in long and "MB" in name]
    if short:  # runners start anew after some jobs
        most = max(value for one in short for _, value in one)
        print(
            f"  {len(short)} processes lived for less than {FEWEST_LOOKS} looks, most {most:.1f} MB"
        )
    at_least("sent a second", len(sent) / minutes / 60, 0.98 * JOBS_A_SECOND, "")
    verdict("still queued at the end", waiting, 10 * JOBS_A_SECOND, "jobs")
    for name in sorted(long):
        kind = name.rpartition(" ")[2]
        if name == "wal MB":
            verdict("wal, largest", max(v for _, v in sizes.samples[name]), MOST_WAL_MB, "MB")
        elif kind == "MB":
            most = 5 if name.startswith("redis") else 20
            verdict(f"{name} more in an hour", sizes.growth(name), most, "MB")
        else:
            verdict(f"{name} more in an hour", sizes.growth(name), 10, "")
