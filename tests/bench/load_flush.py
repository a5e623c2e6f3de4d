"""FLUSHALL while many jobs are queued, half of them one user's: when work begins again, that all of it is done,
and whether the others wait behind the big user.

Bars: the first start within 10 s of FLUSHALL; every job succeeded; when the last job of the others is done, the big
user has had no more than his fair part: as many as each of them, and what was claimed ahead.
"""

from __future__ import annotations

import argparse
import time

from sqlalchemy import func, select

from shared.models import Job
from shared.queue import redis_client
from tests.bench.loaded import loaded, verdict
from tests.servers import wait_until

OTHERS = 5
PATIENCE = 1800.0
# beyond fair order: what two workers hold of him when they begin, and of the last of the others when these end
AHEAD = 2 * 2 * 64


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
        with redis_client(here.settings) as client:
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
        query = select(Job.user_id, Job.state, Job.started_at, Job.finished_at)
        rows = session.execute(query.where(Job.kind == "generate")).all()
    ended = max(row.finished_at for row in rows)
    others = [row.finished_at for row in rows if row.user_id != big]
    last = max(others)
    ahead = sum(row.user_id == big and row.finished_at <= last for row in rows)
    print(
        f"{len(rows)} jobs in {ended - flushed:.1f} s, {len(rows) / (ended - flushed):.0f} a second"
    )
    print(f"  the others' last one after {last - flushed:.1f} s")
    verdict("first start after FLUSHALL", min(r.started_at for r in rows) - flushed, 10, "s")
    verdict("not succeeded", sum(row.state != "succeeded" for row in rows), 0, "jobs")
    verdict("big user's jobs done by then", ahead, count // 2 // OTHERS + AHEAD, "jobs")
