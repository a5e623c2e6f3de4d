"""The oracle finds what it is there for: each kind of harm, done here by hand to a good job."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from shared import jobs, scheduling
from shared.db import Database
from shared.job_records import Lease, NewArtifact, Outcome
from shared.models import Artifact, Job, JobEvent, Result
from tests.work import Work
from worker.chaos import oracle


@pytest.fixture(params=["sqlite", "postgresql"])
def work(request, make_settings):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url = request.getfixturevalue(name)
    db = Database(url)
    yield Work(make_settings(database_url=url), db)
    db.dispose()


@pytest.fixture
def job_id(work):
    """A generation of two outputs that has succeeded, with its files."""
    made = work.generate(count=2)
    offer = scheduling.Offer(
        worker_id="w", lanes=("interactive",), families={"sleep_steps": 1}, limit=1, lease_seconds=9
    )
    with work.db.writing() as session:
        (claimed,) = scheduling.claim(session, offer)
    artifacts = []
    for index in range(2):
        place = f"artifacts/{made}/{claimed.fence}/{index}.txt"
        sha256, size = work.storage.put_bytes(place, b"text")
        artifacts.append(
            NewArtifact(
                role="output",
                index=index,
                name=f"{index}.txt",
                location=place,
                sha256=sha256,
                bytes=size,
                media_type="text/plain",
            )
        )
    with work.db.writing() as session:
        jobs.succeed(session, Lease(made, claimed.fence), Outcome(artifacts=artifacts))
    return made


def kinds(work):
    return {problem.kind for problem in oracle.problems(work.settings, work.db, work.storage)}


def test_a_good_job_has_no_problem(work, job_id):
    assert kinds(work) == set()


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lambda job: delete(Result).where(Result.job_id == job), "lost"),
        (lambda job: delete(Artifact).where(Artifact.job_id == job, Artifact.index == 1), "lost"),
        (lambda job: update(Artifact).where(Artifact.index == 1).values(index=0), "doubled"),
        (lambda job: update(Job).where(Job.id == job).values(params={"count": 1}), "doubled"),
        (lambda job: update(Job).where(Job.id == job).values(state="failed"), "illegal"),
        (lambda job: update(Job).where(Job.id == job).values(owner="somebody"), "illegal"),
        (lambda job: delete(JobEvent).where(JobEvent.job_id == job, JobEvent.n == 2), "illegal"),
    ],
    ids=["result", "output", "index", "count", "state", "owner", "event"],
)
def test_harm_to_rows_is_found(work, job_id, harm, kind):
    with work.db.writing() as session:
        session.execute(harm(job_id))
    assert kind in kinds(work)


def test_a_file_that_is_gone_or_changed_is_lost(work, job_id):
    with work.db.reading() as session:
        job = session.get(Job, job_id)
    path = next(work.storage.path_of(f"artifacts/{job.id}").rglob("0.txt"))
    path.unlink()
    path.write_bytes(b"else")
    assert kinds(work) == {"lost"}
