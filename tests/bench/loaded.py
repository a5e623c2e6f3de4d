"""What the load benches share: an installation of sleepers, jobs written straight to its queue, quantiles."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import func, select, update

from shared import jobs
from shared.config import read_settings
from shared.db import Database, clock
from shared.job_records import NewJob
from shared.models import Job, Model, User, Worker
from tests.bench.fill import a_model
from tests.installation import ROOT, Installation

AT_ONCE = 500


def quantile(values, share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Loaded:
    """A running installation, its database, and one model that everybody may use."""

    def __init__(self, atelier: Installation) -> None:
        self.atelier = atelier
        self.client = atelier.user("ann")
        atelier.families(self.client, "sleep_steps")
        self.model = a_model(self.client)
        self.client.models.change(self.model["id"], visibility="shared")
        named = ("ATELIER_", "DATABASE_URL")
        found = {k: v for k, v in atelier.environment.items() if k.startswith(named)}
        self.settings = read_settings(found)
        self.db = Database(self.settings.database)

    @property
    def token(self) -> str:
        return self.client._connection.http.headers["Authorization"].partition(" ")[2]

    def user_id(self, name: str) -> str:
        with self.db.reading() as session:
            return session.scalars(select(User.id).where(User.name == name)).one()

    def queue(self, user_id: str, count: int, **params) -> list[str]:
        """So many generations, accepted as web accepts them but many in a transaction."""
        with self.db.reading() as session:
            model = session.get(Model, self.model["id"])
        made: list[str] = []
        while len(made) < count:
            with self.db.writing() as session:
                for _ in range(min(AT_ONCE, count - len(made))):
                    new = NewJob(
                        user_id=user_id,
                        kind="generate",
                        family="sleep_steps",
                        family_version=model.family_version,
                        params={"count": 1, "steps": 1, "step_seconds": 0.0, **params},
                        seed=1,
                        lane="interactive",
                        estimate_seconds=0.05,
                        model_id=model.id,
                        model_sha256=model.sha256,
                        max_queued_jobs=10**6,
                    )
                    made.append(jobs.accept(session, new).id)
        return made

    def running(self) -> int:
        with self.db.reading() as session:
            count = select(func.count()).select_from(Job).where(Job.state == "running")
            return session.scalar(count) or 0

    def drain(self, asked: bool) -> None:
        """As an administrator does, so that a queue can be filled before it is worked at."""
        with self.db.writing() as session:
            at = clock(session) if asked else None
            session.execute(update(Worker).values(drain_requested_at=at))


@contextmanager
def loaded(**settings: str):
    asked = {"families": "sleep_steps", "workers": "2", "max_queued_jobs": "1000000"}
    asked["family_path"] = str(ROOT / "worker" / "chaos" / "families")
    with Installation(**asked | settings) as atelier:
        made = Loaded(atelier)
        try:
            yield made
        finally:
            made.db.dispose()
