"""Submit, status and 304 at 10 submits a second, with two busy workers and 10,000 queued, on both databases.

The peer is a bare one-row commit on the same database in the same run, made between the requests; both databases wait
for the disk. A turn is due every 0.1 s whether or not the one before it is over, and its submit is timed from then,
so that a slow server does not slow down those who ask. No bars: the figures are told beside those of the peer.
"""

from __future__ import annotations

import argparse
import statistics
import time

import httpx
from sqlalchemy import create_engine, event, select, text

from shared import jobs
from shared.config import read_settings
from shared.db import Database
from shared.jobs import NewJob
from shared.models import Model, User
from tests.bench.fill import a_model
from tests.bench.verdicts import verdict
from tests.installation import ROOT, Installation
from tests.servers import PostgresServer, wait_until

QUEUED = 10_000


def p95(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{1000 * ordered[int(0.95 * len(ordered))]:7.1f} ms (median {1000 * statistics.median(ordered):.1f})"


def fill_the_queue(db: Database, user_id: str, model: Model) -> None:
    for _ in range(QUEUED // 500):
        with db.writing() as session:
            for _ in range(500):
                jobs.accept(
                    session,
                    NewJob(
                        user_id=user_id,
                        kind="generate",
                        family="sleep_steps",
                        family_version=model.family_version,
                        params=PARAMS,
                        seed=1,
                        lane="interactive",
                        model_id=model.id,
                        model_sha256=model.sha256,
                        max_queued_jobs=10**6,
                    ),
                )


PARAMS = {"count": 1, "steps": 5, "step_seconds": 0.2}


class BareCommits:
    """One row, one commit, durable as ours are: what the database itself costs."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        if url.startswith("sqlite"):
            event.listen(
                self.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=FULL") and None
            )
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE bare (n INTEGER)"))

    def one(self) -> float:
        started = time.perf_counter()
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO bare VALUES (1)"))
        return time.perf_counter() - started


def measure(name: str, database_url: str, seconds: float) -> None:
    extra = {"DATABASE_URL": database_url} if database_url else {}
    atelier = Installation(
        extra=extra,
        family_path=str(ROOT / "tests" / "families"),
        families="sleep_steps",
        workers="2",
        max_queued_jobs=str(10**6),
    )
    with atelier:
        client = atelier.user()
        atelier.families(client, "sleep_steps")
        settings = read_settings(
            {
                k: v
                for k, v in atelier.environment.items()
                if k.startswith(("ATELIER_", "DATABASE_URL"))
            }
        )
        db = Database(settings.database)
        model = a_model(client)
        with db.reading() as session:
            user = session.scalars(select(User).where(User.name == "ann")).one()
            row = session.get(Model, model["id"])
        fill_the_queue(db, user.id, row)
        bare = BareCommits(settings.database)
        wait_until(lambda: client.jobs.list(state="running", limit=1), 30, "the workers are busy")
        token = client._connection.http.headers["Authorization"]
        times: dict[str, list[float]] = {"submit": [], "status": [], "304": [], "bare commit": []}
        changed = 0
        body = {"kind": "generate", "model_id": model["id"], "params": PARAMS}
        with httpx.Client(
            base_url=f"{atelier.url}/api/v1", headers={"Authorization": token}
        ) as http:
            due = time.monotonic()
            until = due + seconds
            while due < until:
                time.sleep(max(0.0, due - time.monotonic()))
                answer = timed(times["submit"], http.post, "/jobs", json=body, since=due)
                assert answer.status_code == 202, answer.text
                place = f"/jobs/{answer.json()['id']}"
                answer = timed(times["status"], http.get, place)
                assert answer.status_code == 200, answer.text
                tag = {"If-None-Match": answer.headers["ETag"]}
                answer = timed(times["304"], http.get, place, headers=tag)
                # a job that was claimed in between, or a tick of its tag's clock
                changed += answer.status_code != 304
                times["bare commit"].append(bare.one())
                due += 0.1
        print(f"{name}: {len(times['submit'])} submits; {changed} of the 304s were 200")
        verdict("not 304", 100 * changed / len(times["304"]), 5, "%")
        for what, seconds_each in times.items():
            print(f"  {what:12} p95 {p95(seconds_each)}")
        db.dispose()


def timed(times: list[float], call, *arguments, since: float | None = None, **options):
    started = time.monotonic() if since is None else since
    answer = call(*arguments, **options)
    times.append(time.monotonic() - started)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    measure("SQLite", "", arguments.seconds)
    server = PostgresServer(durable=True)
    try:
        server.start()
        server.execute("CREATE DATABASE bench")
        measure("PostgreSQL", server.url("bench"), arguments.seconds)
    finally:
        server.remove()
