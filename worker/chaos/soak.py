"""One soak from beginning to end: start, serve and break by the plan, wait for every job, stop, see what is left."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from atelier_client import Client
from shared.config import Settings, child_environment
from shared.db import Database, clock
from shared.models import Job
from shared.queue import redis_client
from shared.samples import grey_png
from shared.storages import open_storage
from worker.chaos import ears, figures, files, oracle, scratch
from worker.chaos.ears import Ears
from worker.chaos.faults import Breaker
from worker.chaos.figures import Figures
from worker.chaos.installation import Installation, wait_until
from worker.chaos.orders import Books, People
from worker.chaos.plan import PICTURES, USERS, Plan
from worker.chaos.problem import Problem

FAMILIES = Path(__file__).parent / "families"
WORKERS = 3
TURN_SECONDS = 0.02
TELL_SECONDS = 30.0
REDIS_SECONDS = 30.0
SIDE = 8
# Short leases, so that ten minutes hold many of them.
PACE: dict[str, Any] = {
    "lease_seconds": 5,
    "heartbeat_seconds": 0.5,
    "poll_seconds": 0.2,
    "reap_seconds": 0.5,
    "backoff_seconds": 0.2,
    "checkpoint_seconds": 0.5,
    "drain_seconds": 10,
    "deaf_seconds": 60,
    "disk_low_percent": 0,
}


@dataclass
class Outcome:
    """Everything that a report is made of."""

    plan: Plan
    figures: Figures
    books: Books
    breaker: Breaker
    lease: float


class Soak:
    """`settings` name a scratch folder, database and Redis; see scratch.claim."""

    def __init__(
        self, settings: Settings, plan: Plan, say: Callable[[str], None], patience: float
    ) -> None:
        self._plan, self._say, self._patience = plan, say, patience
        own = {"families": ",".join(plan.families), "family_path": str(FAMILIES)}
        own["webhook_networks"] = f"{ears.ADDRESS}/32"
        # a token of `atelier user` and the soak itself read what the installation reads
        self._settings = settings.model_copy(update=own)
        log = settings.data.resolve() / "up.log"
        environment = child_environment(self._settings)
        self._installation = Installation(environment, log, settings.port)
        self._db: Database | None = None
        self._ears = Ears()
        self._hooked_at = 0.0  # by the database's clock: every job from then on is told

    def run(self) -> Outcome:
        scratch.claim(self._settings)
        installation = self._installation
        installation.log_path.unlink(missing_ok=True)
        installation.start()
        self._say(f"{installation.url} is ready after {installation.ready_seconds:.1f} s")
        self._db = db = Database(self._settings.database)
        breaker = Breaker(self._settings, db, installation)
        with self._ears:
            return self._run(installation, db, breaker)

    def _run(self, installation: Installation, db: Database, breaker: Breaker) -> Outcome:
        try:
            tokens = [self._token(n) for n in range(USERS)]
            with db.reading() as session:
                self._hooked_at = clock(session)
            things = [self._things(token) for token in tokens]
            breaker.start()
            with People(installation.url, tokens, things, db, breaker) as people:
                self._go_on(people, breaker)
            piled_up = self._redis_problems()
            status = installation.stop()
            outcome = self._look(people.books, breaker, status)
            outcome.figures.problems += piled_up
            return outcome
        finally:
            breaker.end()
            installation.stop()
            installation.left_running(0.1)
            db.dispose()

    # ---- before ---------------------------------------------------------------------------------------

    def _token(self, number: int) -> str:
        """A name for each run, since a folder may be used again."""
        return self._installation.token_of(scratch.USER.format(f"{time.time_ns():x}-{number}"))

    def _things(self, token: str) -> dict[str, Any]:
        """What the orders of one person use: datasets, and a model of the test family."""
        with (
            Client(self._installation.url, token) as client,
            tempfile.TemporaryDirectory() as folder,
        ):
            client.webhooks.create(self._ears.url)
            wait_until(lambda: _offered(client, self._plan.families), 120, "the families")
            texts = client.datasets.add(sample="python-docs").wait(timeout=120)
            things: dict[str, Any] = {"texts": texts["id"], "pictured": PICTURES}
            if PICTURES & set(self._plan.families):
                pictures = client.datasets.add([_draw_pictures(Path(folder))])
                things["images"] = pictures.wait(timeout=120)["id"]
            job = client.jobs.submit(
                "train", {"steps": 3}, family="sleep_steps", dataset_id=texts["id"]
            )
            things["model"] = job.wait(timeout=120).result_or_raise()["result"]["model_id"]
        return things

    # ---- meanwhile ------------------------------------------------------------------------------------

    def _go_on(self, people: People, breaker: Breaker) -> None:
        orders, faults = list(self._plan.orders), list(self._plan.faults)
        began = told = time.monotonic()
        while (at := time.monotonic() - began) < self._plan.seconds:
            for order in _due(orders, at):
                people.take(order)
            for fault in _due(faults, at):
                breaker.inject(fault)
            breaker.wake_due()
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                self._say(f"{at:5.0f} s: {len(people.books.ids)} jobs, {len(breaker.hits)} faults")
            time.sleep(TURN_SECONDS)
        breaker.wake_due(everything=True)
        people.wait(self._patience)
        with suppress(TimeoutError):  # what is still open then is told as lost
            wait_until(lambda: self._all_ended(people.books), self._patience, "every job's end")
            wait_until(self._all_told, self._patience, "every message")

    def _all_ended(self, books: Books) -> bool:
        assert self._db is not None
        open_ones = select(func.count()).where(Job.state.in_(("queued", "running")))
        time.sleep(0.2)
        with suppress(SQLAlchemyError), self._db.reading() as session:
            return session.scalar(open_ones) == 0
        return False

    def _all_told(self) -> bool:
        assert self._db is not None
        time.sleep(0.2)
        with suppress(SQLAlchemyError):
            return not ears.are_waiting(self._db)
        return False

    # ---- after ----------------------------------------------------------------------------------------

    def _redis_problems(self) -> list[Problem]:
        """Asked while Redis runs; one that was killed is given the time to come back."""

        def ask() -> list[list[Problem]]:
            with suppress(redis.RedisError), redis_client(self._settings) as client:
                return [oracle.redis_problems(self._settings, client)]
            return []

        try:
            found: list[Problem] = wait_until(ask, REDIS_SECONDS, "Redis answers")[0]
        except TimeoutError as error:
            return [Problem("lost", str(error))]
        return found

    def _look(self, books: Books, breaker: Breaker, status: int) -> Outcome:
        assert self._db is not None
        settings, lease = self._settings, self._settings.lease_seconds
        storage = open_storage(settings)
        log = self._installation.log()
        found = figures.read(self._plan, books, self._db, storage, breaker, log, lease)
        if status:
            found.problems.append(Problem("illegal", f"`atelier up` ended with {status}"))
        for process in self._installation.left_running():
            found.problems.append(Problem("orphaned", f"process {process} was left running"))
        left = files.unnamed(settings, self._db, storage)
        found.left = Counter(name.partition("/")[0] for name in left)
        found.problems += oracle.problems(settings, self._db, storage)
        found.told, found.told_again = len(self._ears.times), self._ears.again
        found.problems += ears.problems(self._ears, self._db, self._hooked_at)
        return Outcome(self._plan, found, books, breaker, lease)


def _due(things: list[Any], at: float) -> Iterable[Any]:
    while things and things[0].at <= at:
        yield things.pop(0)


def _offered(client: Client, families: Iterable[str]) -> bool:
    online = {family["name"] for family in client.families.list() if family["online"]}
    return set(families) <= online


def _draw_pictures(folder: Path) -> Path:
    """Two classes of small grey squares: for the families of pictures."""
    place = folder / "pictures"
    for label in range(2):
        (place / str(label)).mkdir(parents=True)
        for n in range(40):
            pixels = bytes((label * 120 + n * 3 + i) % 256 for i in range(SIDE * SIDE))
            (place / str(label) / f"{n}.png").write_bytes(grey_png(pixels, SIDE, SIDE))
    return place
