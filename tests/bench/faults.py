"""The same jobs and the same faults on stock Celery, on Celery with late acks, the same with a durable Redis, and here.

Each episode starts a system with two workers of one job each, submits jobs of the same length, injects one fault at a
moment drawn from the seed (the same for all), and waits. A job counts as

* lost: it was accepted and neither its result nor any message or row of it is left;
* late: it was done, or still waits, more than lease + 5 s after the fault beyond what the work itself takes;
* doubled: it has more than one result.

The peers are ordinary projects (celery_peer.py): two prefork workers of one child, which a process manager starts again
half a second after they end and kills 10 s after SIGTERM; result rows in SQLite, Valkey without persistence, or
(a column) with `appendonly yes`.
`visibility` needs no crash: the broker's timeout is shorter than the job.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import redis
from sqlalchemy import select

from shared.models import Job, Result
from tests.bench.loaded import Loaded
from tests.installation import ROOT, Installation
from tests.servers import ValkeyServer, die_with_parent
from worker.chaos.soak import PACE

LEASE = PACE["lease_seconds"]
WORKERS = 2
# More than two workers take at once (each reserves four beside the one it runs), so that some wait in Redis.
JOBS, SECONDS = 16, 1.0
# kind: jobs and how long each takes, where the fault needs long ones
LONG = {"sigterm": (2, 15.0), "visibility": (1, 9.0)}
VISIBILITY = 4
RESTART_SECONDS = 0.5  # what `atelier up` waits before it starts a process again
STOP_SECONDS = 10.0  # what a process manager gives a worker after SIGTERM
GRACE = LEASE + 5
# after the fault; a message that is still in Redis by then counts as late, whenever it would come
WATCH = 45.0
KINDS = ("kill -9 worker", "kill -9 child", "kill -9 redis", "flushall", "sigterm", "visibility")


@dataclass(frozen=True)
class Episode:
    kind: str
    at: float

    @property
    def jobs(self) -> int:
        return LONG.get(self.kind, (JOBS, SECONDS))[0]

    @property
    def seconds(self) -> float:
        return LONG.get(self.kind, (JOBS, SECONDS))[1]

    @property
    def due(self) -> float:
        """After the fault: the grace, and the whole work once more."""
        return GRACE + self.seconds * self.jobs / min(self.jobs, WORKERS)


def episodes(seed: int, each: int) -> list[Episode]:
    draw = random.Random(seed)
    return [Episode(kind, draw.uniform(0.5, 3.5)) for kind in KINDS for _ in range(each)]


class Peer:
    """Celery workers under a small process manager."""

    def __init__(self, folder: Path, late: bool, episode: Episode, durable: bool) -> None:
        from tests.bench import celery_peer

        self.folder, self._late = folder, late
        self.valkey = ValkeyServer(folder)
        self._redis = ("--appendonly", "yes") if durable else ()
        self.valkey.start(*self._redis)
        self.database = folder / "results.db"
        with sqlite3.connect(self.database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            for statement in celery_peer.TABLES:
                connection.execute(statement)
        self.environment = {
            **os.environ,
            "PEER_BROKER": self.valkey.url,
            "PEER_DATABASE": str(self.database),
            "PEER_LATE": "1" if late else "",
            "PEER_VISIBILITY": str(VISIBILITY) if episode.kind == "visibility" else "",
        }
        self._ended: dict[int, float] = {}
        self._seconds = episode.seconds
        self.workers = [self._start(n) for n in range(WORKERS)]

    def _start(self, number: int) -> subprocess.Popen:
        command = [sys.executable, "-m", "celery", "-A", "tests.bench.celery_peer", "worker"]
        with (self.folder / f"worker-{number}.log").open("ab") as out:
            return subprocess.Popen(
                [
                    *command,
                    "--loglevel",
                    "INFO",
                    "--concurrency",
                    "1",
                    "--hostname",
                    f"w{number}@peer",
                ],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def tend(self) -> None:
        for number, worker in enumerate(self.workers):
            if worker.poll() is None:
                continue
            ended = self._ended.setdefault(worker.pid, time.monotonic())
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
            if time.monotonic() > ended + RESTART_SECONDS:
                self.workers[number] = self._start(number)

    def submit(self, count: int, seconds: float) -> list[str]:
        from tests.bench.celery_peer import work

        work.app.conf.broker_url = self.valkey.url
        names = [f"job-{n}" for n in range(count)]
        with work.app.connection_for_write() as connection:
            for name in names:
                work.apply_async((name, seconds), connection=connection)
        return names

    def is_ready(self) -> bool:
        logs = [self.folder / f"worker-{n}.log" for n in range(WORKERS)]
        return all(" ready." in log.read_text() for log in logs)

    def break_(self, kind: str) -> None:
        busy = self.workers[0]
        if kind == "kill -9 worker":
            os.killpg(busy.pid, signal.SIGKILL)
        elif kind == "kill -9 child":
            psutil.Process(busy.pid).children()[0].kill()
        elif kind == "sigterm":
            busy.terminate()
            with suppress(subprocess.TimeoutExpired):
                busy.wait(STOP_SECONDS)
            busy.kill()
        elif kind == "kill -9 redis":
            self.valkey.kill()
            time.sleep(RESTART_SECONDS)
            self.valkey.start(*self._redis)
        elif kind == "flushall":
            with self.valkey.client() as client:
                client.flushall()

    def results(self) -> dict[str, list[float]]:
        with sqlite3.connect(self.database, timeout=30) as connection:
            found: dict[str, list[float]] = {}
            for job, at in connection.execute("SELECT job, at FROM result"):
                found.setdefault(job, []).append(at)
        return found

    def waiting(self) -> set[str]:
        """Jobs of which a message is left, or which run."""
        found = set()
        with suppress(redis.RedisError), self.valkey.client() as client:
            texts = [*client.lrange("celery", 0, -1), *client.hvals("unacked")]
            found = {f"job-{n}" for n in range(JOBS) for t in texts if f"job-{n}".encode() in t}
        return found | self._running()

    def _running(self) -> set[str]:
        with sqlite3.connect(self.database, timeout=30) as connection:
            rows = connection.execute(
                "SELECT job FROM started WHERE at > ?", (time.time() - 2 * self._seconds,)
            )
            return {job for (job,) in rows} - set(self.results())

    def end(self) -> None:
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            for child in psutil.Process(worker.pid).children() if worker.poll() is None else []:
                child.kill()
            worker.wait()
        self.valkey.kill()


class Ours:
    """`atelier up`, which is its own process manager; trainings, because a worker runs one of them at a time."""

    def __init__(self, atelier: Installation) -> None:
        self.here = Loaded(atelier)
        self.atelier = atelier
        self.dataset = self.here.client.datasets.list()[0]["id"]

    def tend(self) -> None:
        pass

    def is_ready(self) -> bool:
        return len(self.atelier.named("runner")) >= WORKERS

    def submit(self, count: int, seconds: float) -> list[str]:
        params = {"steps": int(seconds / 0.02), "step_seconds": 0.02}
        submit = self.here.client.jobs.submit
        made = [
            submit("train", params, family="sleep_steps", dataset_id=self.dataset)
            for _ in range(count)
        ]
        return [job["id"] for job in made]

    def break_(self, kind: str) -> None:
        if kind == "kill -9 worker":
            main = self.atelier.mains()[0]
            for process in [main, *main.children(recursive=True)]:
                with suppress(psutil.Error):
                    process.kill()
        elif kind == "kill -9 child":
            self.atelier.children()[0].kill()
        elif kind == "sigterm":
            self.atelier.mains()[0].terminate()
        elif kind == "kill -9 redis":
            self.atelier.named("redis")[0].kill()
        elif kind == "flushall":
            with redis.Redis.from_url(self.here.settings.redis) as client:
                client.flushall()

    def results(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        with self.here.db.reading() as session:
            rows = select(Result.job_id, Job.finished_at).join(Job, Job.id == Result.job_id)
            for job_id, at in session.execute(rows):
                found.setdefault(job_id, []).append(at)
        return found

    def waiting(self) -> set[str]:
        with self.here.db.reading() as session:
            return set(session.scalars(select(Job.id).where(Job.state.in_(("queued", "running")))))

    def end(self) -> None:
        self.here.db.dispose()


def play(system: Peer | Ours, episode: Episode) -> Counter[str]:
    until(system, system.is_ready, 60)
    names = system.submit(episode.jobs, episode.seconds)
    until(system, lambda: False, episode.at)
    hit_at = time.time()
    system.break_(episode.kind)

    def settled() -> bool:
        done = set(system.results())
        return not (set(names) - done) or not (set(names) - done) & system.waiting()

    until(system, settled, WATCH)
    # a second copy may still be on its way
    until(system, lambda: False, episode.seconds + 2 if episode.kind == "visibility" else 3)
    results, waiting = system.results(), system.waiting()
    late = [n for n in names if n in results and min(results[n]) > hit_at + episode.due]
    open_ = [name for name in names if name not in results]
    return Counter(
        lost=sum(name not in waiting for name in open_),
        doubled=sum(len(results.get(name, ())) > 1 for name in names),
        late=len(late) + sum(name in waiting for name in open_),
        jobs=len(names),
    )


def until(system: Peer | Ours, check, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not check():
        system.tend()
        time.sleep(0.05)


def play_peer(late: bool, episode: Episode, durable: bool = False) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder), late, episode, durable)
        try:
            return play(peer, episode)
        finally:
            peer.end()


def play_ours(episode: Episode) -> Counter[str]:
    # by its nature our lease is shorter than many jobs, as a short visibility_timeout is
    pace = {name: str(value) for name, value in PACE.items()}
    if episode.kind == "visibility":
        pace["lease_seconds"] = str(VISIBILITY)
    folder = str(ROOT / "worker" / "chaos" / "families")
    with Installation(families="sleep_steps", family_path=folder, workers="2", **pace) as atelier:
        ours = Ours(atelier)
        try:
            return play(ours, episode)
        finally:
            ours.end()


COLUMNS = {
    "stock Celery": lambda episode: play_peer(False, episode),
    "late acks": lambda episode: play_peer(True, episode),
    "and appendonly": lambda episode: play_peer(True, episode, durable=True),
    "Atelier": play_ours,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=2, help="of each kind of fault")
    arguments = parser.parse_args()
    os.environ["PEER_BROKER"] = "redis://127.0.0.1:1/0"  # the sender's; named at each submit
    print(f"# kombu {version('kombu')}; seed {arguments.seed}; lease {LEASE} s; lost/doubled/late")
    sums: dict[str, dict[str, Counter[str]]] = {}
    for episode in episodes(arguments.seed, arguments.episodes):
        for column, column_play in COLUMNS.items():
            counts = column_play(episode)
            told = "/".join(str(counts[name]) for name in ("lost", "doubled", "late"))
            print(f"  {episode.kind} after {episode.at:.1f} s, {column}: {told}", flush=True)
            row = sums.setdefault(episode.kind, {})
            row[column] = row.get(column, Counter()) + counts
    print(f"{'fault':16} {'jobs':>5}  " + "".join(f"{name:>16}" for name in COLUMNS))
    for kind, row in sums.items():
        cells = "".join(
            f"{c['lost']:>6}/{c['doubled']}/{c['late']}".rjust(16) for c in row.values()
        )
        print(f"{kind:16} {next(iter(row.values()))['jobs']:>5}  {cells}")


if __name__ == "__main__":
    main()
