"""/metrics with 100,000 jobs, on both databases; the peer is `SELECT count(*)` over the same table in the same run."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import func, insert, select, text

from shared.config import Settings
from shared.db import Database, clock
from shared.ids import new_id
from shared.models import Job, User
from tests.conftest import make_tables
from tests.servers import PostgresServer
from web import create_app

JOBS = 100_000
ROUNDS = 20
FAMILIES = ("vae", "transformer_lm", "gan", "lstm", "unet")


def fill(db: Database) -> None:
    with db.writing() as session:
        user = User(id=new_id(), name="ann", role="user", created_at=0.0)
        session.add(user)
        session.flush()
        at = clock(session)
        fixed = {
            "user_id": user.id,
            "family_version": 1,
            "params": {"prompt": "x" * 200},
            "seed": 1,
        }
        states = ("succeeded",) * 7 + ("failed", "cancelled", "queued")
        for begin in range(0, JOBS, 5000):
            session.execute(
                insert(Job),
                [
                    {
                        **fixed,
                        "id": new_id(),
                        "kind": "generate" if n % 3 else "train",
                        "family": FAMILIES[n % len(FAMILIES)],
                        "lane": "interactive" if n % 3 else "train",
                        "rank": at - n,
                        "state": (state := states[n % len(states)]),
                        "created_at": at - n,
                        "started_at": at - n + 1 if state != "queued" else None,
                        "finished_at": at - n + 5 if state != "queued" else None,
                    }
                    for n in range(begin, begin + 5000)
                ],
            )
        session.execute(text("ANALYZE"))


def timed(call) -> list[float]:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return times


def measure(name: str, url: str, folder: Path) -> None:
    db = Database(url)
    fill(db)
    app = create_app(Settings(data=folder, database_url=url), background=False)
    client = app.test_client()

    def scrape() -> None:
        answer = client.get("/metrics")
        assert answer.status_code == 200 and b"atelier_jobs{" in answer.data

    def count() -> None:
        with db.reading() as session:
            assert session.scalar(select(func.count()).select_from(Job)) == JOBS

    for what, times in (("scrape", timed(scrape)), ("count(*)", timed(count))):
        ordered = sorted(times)
        p95 = ordered[int(0.95 * len(ordered))]
        print(f"{name:10} {what:9} median {statistics.median(times):6.1f} ms, p95 {p95:6.1f} ms")
    app.extensions["atelier"].close()
    db.dispose()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/atelier.db"
        make_tables(url)
        measure("sqlite", url, Path(folder))
    server = PostgresServer()
    try:
        server.start()
        server.execute("CREATE DATABASE bench")
        make_tables(server.url("bench"))
        with tempfile.TemporaryDirectory() as folder:
            measure("postgresql", server.url("bench"), Path(folder))
    finally:
        server.remove()
