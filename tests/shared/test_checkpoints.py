"""Which checkpoints stay: the newest, the best, and what another training begins with."""

from __future__ import annotations

import pytest

from shared import checkpoints, jobs
from shared.job_records import Lease, NewJob
from shared.models import Job
from shared.outputs import newest_checkpoints
from tests.work import Work


@pytest.fixture
def work(settings, db):
    return Work(settings, db)


def steps(session, job_id):
    return [row.step for row in newest_checkpoints(session, job_id)]


@pytest.fixture
def training(work):
    """A running training with five checkpoints; the best score was seen at step 20."""
    job_id = work.train()
    with work.db.writing() as session:
        row = session.get(Job, job_id)
        row.state, row.fence, row.owner = "running", 1, "w"
        session.flush()
        for step, score in ((10, 3.0), (20, 1.0), (30, 1.0), (40, 1.0), (50, 1.0)):
            file = {"location": f"checkpoints/{job_id}/1/{step}", "sha256": "", "score": score}
            assert jobs.add_checkpoint(session, Lease(job_id, 1), step=step, size=1, **file)
    return job_id


def go_on(work, job_id, step):
    new = NewJob(
        user_id=work.user_id,
        kind="train",
        family="sleep_steps",
        family_version=1,
        params={"steps": 90},
        seed=7,
        lane="train",
        continues=job_id,
        continues_step=step,
    )
    with work.db.writing() as session:
        assert checkpoints.hold(session, job_id, step)
        return jobs.accept(session, new).id


def test_the_newest_and_the_best_are_kept(work, training):
    with work.db.writing() as session:
        gone = checkpoints.prune(session, training, 2)
        assert steps(session, training) == [50, 40, 20]
    assert sorted(gone) == [f"checkpoints/{training}/1/{step}" for step in (10, 30)]


def test_what_a_waiting_training_begins_with_is_kept_until_it_ends(work, training):
    child = go_on(work, training, 10)
    with work.db.writing() as session:
        checkpoints.prune(session, training, 1)
        assert steps(session, training) == [50, 20, 10]
    work.cancel(child)
    with work.db.writing() as session:
        checkpoints.prune(session, training, 1)
        assert steps(session, training) == [50, 20]


def test_without_scores_there_is_no_best(work):
    with work.db.reading() as session:
        assert checkpoints.best(newest_checkpoints(session, "none")) is None
        assert not checkpoints.hold(session, "none", 5)
