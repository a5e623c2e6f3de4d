"""Many event streams at once: how soon a change of a job's state is heard by who listens to it.

Each listener has a job of his; they are paused one after the other by another client. Bar: p95 <= 200 ms from the
event's own time (the database's clock, on this machine) to its arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import datetime

from tests.bench.loaded import loaded, quantile
from tests.bench.raw_http import Line
from tests.bench.verdicts import verdict

STREAM = "text/event-stream"


async def listen(line: Line, job_id: str, heard: list[float], listening: asyncio.Event) -> None:
    """Until the job has been paused."""
    status, _, _ = await line.ask("GET", f"/jobs/{job_id}/events", accept=STREAM)
    assert status == 200, status
    while text := await line.reader.readline():
        if not text.startswith(b"data: "):
            continue
        event = json.loads(text.removeprefix(b"data: "))
        listening.set()  # it has heard that the job was queued
        if event["data"].get("paused"):
            heard.append(time.time() - datetime.fromisoformat(event["at"]).timestamp())
            return


async def run(here, ids: list[str], seconds: float) -> list[float]:
    heard: list[float] = []
    lines = [Line(here.atelier.port, here.token) for _ in ids]
    ready = [asyncio.Event() for _ in ids]
    tasks = [
        asyncio.create_task(listen(line, job_id, heard, event))
        for line, job_id, event in zip(lines, ids, ready, strict=True)
    ]
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in ready)), 120)
    changer, began = Line(here.atelier.port, here.token), time.monotonic()
    for n, job_id in enumerate(ids):
        await asyncio.sleep(max(0.0, began + seconds * n / len(ids) - time.monotonic()))
        status, _, body = await changer.ask("POST", f"/jobs/{job_id}/pause")
        assert status == 200, body
    _, late = await asyncio.wait(tasks, timeout=30)
    for task in late:
        task.cancel()
    for line in [*lines, changer]:
        line.close()
    return heard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    count = arguments.streams
    with loaded(event_streams=str(count + 20), web_threads=str(count + 84)) as here:
        here.drain(True)
        time.sleep(2)
        ids = here.queue(here.user_id("ann"), count)
        used = time.process_time()
        heard = asyncio.run(run(here, ids, arguments.seconds))
        used = time.process_time() - used
    print(f"{count} streams, {count / arguments.seconds:.0f} changes a second")
    print(f"  median {1000 * quantile(heard, 0.5):.1f} ms, longest {1000 * max(heard):.1f} ms")
    print(f"  generator used {used / arguments.seconds:.0%} of a core")
    verdict("heard after, p95", 1000 * quantile(heard, 0.95), 200, "ms")
    verdict("not heard", count - len(heard), 0, "changes")
