"""Previews are thinned evenly over the steps."""

from __future__ import annotations

import pytest

from shared import jobs, previews
from shared.job_records import Lease, NewArtifact, Report
from shared.models import Artifact, Job
from tests.work import Work


def left_after(count, most):
    """The steps left when rounds come one by one."""
    left = []
    for step in range(10, 10 * count + 1, 10):
        left.append(step)
        left = sorted(set(left) - set(previews.crowded(left, most)))
    return left


def test_few_rounds_stay():
    assert left_after(20, 20) == list(range(10, 201, 10))


@pytest.mark.parametrize("count", [21, 100, 999])
def test_of_many_rounds_an_even_choice_stays_with_the_first_and_the_last(count):
    left = left_after(count, 20)
    assert len(left) == 20
    assert (left[0], left[-1]) == (10, 10 * count)
    gaps = [b - a for a, b in zip(left, left[1:], strict=False)]
    assert max(gaps) <= 2 * (10 * count / 20) + 10


def test_a_crowded_round_is_hidden_whole_and_a_round_drawn_twice_stands_once(settings, db):
    work = Work(settings, db)
    job_id = work.train()
    lease = Lease(job_id, 1)
    with db.writing() as session:
        row = session.get(Job, job_id)
        row.state, row.fence, row.owner = "running", 1, "w"
    for n, step in enumerate((1, 50, 51, 100, 100)):
        drawn = [
            NewArtifact(
                index=index,
                name=f"{step}-{index}",
                media_type="text/plain",
                bytes=1,
                sha256="",
                location=f"artifacts/{job_id}/1/{n}-{index}",
                role="preview",
                metrics={"step": step},
            )
            for index in (1, 0)
        ]
        with db.writing() as session:
            assert jobs.report(session, lease, Report(previews=[(step, one) for one in drawn]))
    with db.writing() as session:
        kept = previews.of_job(session, job_id)
        assert [(previews.step_of(row), row.index) for row in kept] == [
            (step, index) for step in (1, 50, 51, 100) for index in (0, 1)
        ]
        assert {
            row.location.rsplit("/")[-1][0] for row in kept if previews.step_of(row) == 100
        } == {"4"}
        previews.thin_out(session, job_id, 5.0, most=3)
        kept = previews.of_job(session, job_id)
        assert {previews.step_of(row) for row in kept} == {1, 51, 100}
        assert session.query(Artifact).filter_by(deleted_at=5.0).count() == 2
