"""FLUSHALL while many jobs are queued, half of them one user's: when work begins again, that all of it is done,
and whether the others wait behind the big user.

Bars: the first start within 10 s of FLUSHALL; every job succeeded; and fair order. A claim takes the next job of the
user whose share has been charged least, and charges all jobs here the same, so until the last job of the others is
claimed, the big user has had as many as each of them. He may be ahead by what two workers took of him in one claim
each (worker/leases.py, CLAIMED_AT_ONCE), which both read the shares before the other wrote them, and by as much once
more for the device time that is charged when a job ends and differs a little from what was charged before.
"""

from __future__ import annotations

import argparse
import time

from sqlalchemy import func, select

from shared.models import Job
from shared.queue import Wakeups, redis_client
from tests.bench.loaded import loaded
from tests.bench.verdicts import verdict
from tests.servers import wait_until
from worker.leases import CLAIMED_AT_ONCE

OTHERS = 5
PATIENCE = 1800.0
WORKERS = 2
AHEAD = 2 * WORKERS * CLAIMED_AT_ONCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    count = parser.parse_args().jobs
    with loaded() as here:
        big = here.user_id("ann")
        names = [f"user{n}" for n in range(OTHERS)]
        for name in names:
            here.atelier.user(name)
        here.drain(True)
        time.sleep(2)
        # the big user comes first, so that order of arrival would put everybody behind him
        here.queue(big, count // 2)
        for name in names:
            here.queue(here.user_id(name), count // 2 // OTHERS)
        # wake-ups as web sends them, so that there is something to lose
        wakeups = Wakeups(here.settings)
        wakeups.wake("interactive")
        wakeups.close()
        with redis_client(here.settings) as client:
            print(f"{client.dbsize()} keys in Redis before FLUSHALL")
            client.flushall()
        flushed = time.time()
        here.drain(False)
        wait_until(lambda: open_jobs(here) == 0, PATIENCE, "all jobs are done")
        report(here, big, flushed, count)


def open_jobs(here) -> int:
    time.sleep(1)
    with here.db.reading() as session:
        waiting = select(func.count()).where(Job.state.in_(("queued", "running")))
        return session.scalar(waiting)


def report(here, big: str, flushed: float, count: int) -> None:
    with here.db.reading() as session:
        query = select(Job.user_id, Job.state, Job.started_at, Job.finished_at, Job.device_seconds)
        rows = session.execute(query.where(Job.kind == "generate")).all()
    ended = max(row.finished_at for row in rows)
    # started_at is the time of the claim; those of one claim have the same
    last = max(row.started_at for row in rows if row.user_id != big)
    had = sum(row.user_id == big and row.started_at <= last for row in rows)
    print(
        f"{len(rows)} jobs in {ended - flushed:.1f} s, {len(rows) / (ended - flushed):.0f} a second"
    )
    print(f"  the others' last one was claimed after {last - flushed:.1f} s")
    used = [row.device_seconds for row in rows]
    print(f"  device-seconds of a job: {min(used):.4f} to {max(used):.4f}, {sum(used):.0f} in all")
    verdict("first start after FLUSHALL", min(r.started_at for r in rows) - flushed, 10, "s")
    verdict("not succeeded", sum(row.state != "succeeded" for row in rows), 0, "jobs")
    verdict("big user's jobs claimed by then", had, count // 2 // OTHERS + AHEAD, "jobs")
