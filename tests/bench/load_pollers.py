"""People who poll: each asks for a job of his every 2 s with its ETag, while it runs.

Bars: p95 <= 100 ms, 90 % of the answers 304, none of them 5xx. All jobs run: the tag of one that waits changes every
2 s with its place in the queue, as the contract has it, so whoever asks every 2 s hardly ever gets a 304 for it. The
generator's own processor time is printed, since it shares the cores with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter

from tests.bench.loaded import loaded, quantile
from tests.bench.raw_http import Line
from tests.bench.verdicts import verdict
from tests.servers import wait_until

EVERY_SECONDS = 2.0


class Poller:
    def __init__(self, port: int, token: str, job_id: str) -> None:
        self._line, self._path, self._tag = Line(port, token), f"/jobs/{job_id}", ""
        self.seconds: list[float] = []
        self.answers: Counter[int] = Counter()

    async def poll(self, first_at: float, until: float) -> None:
        at = first_at
        # a server that cannot keep up is told by how late its answers are, not by a bench without end
        while at < until and time.monotonic() < until:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            began = time.monotonic()
            status, headers, _ = await self._line.ask("GET", self._path, tag=self._tag)
            # from when he wanted to ask: a client that waits its turn must not hide a slow server
            self.seconds.append(time.monotonic() - min(began, at))
            self._tag = headers.get("etag", self._tag)
            self.answers[status] += 1
            at += EVERY_SECONDS
        self._line.close()


async def poll_all(pollers: list[Poller], seconds: float) -> None:
    began = time.monotonic() + 1
    shares = [EVERY_SECONDS * n / len(pollers) for n in range(len(pollers))]
    await asyncio.gather(
        *(p.poll(began + share, began + seconds) for p, share in zip(pollers, shares, strict=True))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pollers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with loaded(generation_items="2000") as here:
        user = here.user_id("ann")
        ids = here.queue(user, arguments.pollers, steps=100_000, step_seconds=0.05)
        wait_until(lambda: here.running() == len(ids), 120, "all run")
        pollers = [Poller(here.atelier.port, here.token, job_id) for job_id in ids]
        used = time.process_time()
        asyncio.run(poll_all(pollers, arguments.seconds))
        used = time.process_time() - used
    warm = [seconds for poller in pollers for seconds in poller.seconds[1:]]
    answers = sum((poller.answers for poller in pollers), Counter())
    # the first answer of each is a 200: there was no tag
    again = answers.total() - len(pollers)
    print(f"{arguments.pollers} pollers, {len(warm) / arguments.seconds:.0f} requests a second")
    print(f"  answers {dict(answers)}; generator used {used / arguments.seconds:.0%} of a core")
    print(f"  median {1000 * quantile(warm, 0.5):.1f} ms, p99 {1000 * quantile(warm, 0.99):.1f} ms")
    verdict("p95", 1000 * quantile(warm, 0.95), 100, "ms")
    verdict("not 304, of those with a tag", 100 * (1 - answers[304] / again), 10, "%")
    verdict("5xx", sum(n for status, n in answers.items() if status >= 500), 0, "answers")
