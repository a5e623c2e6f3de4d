"""The states of a job, one claim of the table at a time."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from shared import jobs, scheduling, shares
from shared.db import clock
from shared.errors import AlreadyEnded, LeaseLost, QuotaExceeded
from shared.job_records import NewArtifact, NewModel
from shared.jobs import Lease, NewJob, Outcome, Report
from shared.models import (
    Artifact,
    FamilyRow,
    Job,
    JobEvent,
    JobLog,
    Model,
    Quota,
    Result,
    User,
    UserShare,
)


@pytest.fixture
def people(db):
    with db.writing() as session:
        for name in ("ann", "bob"):
            session.add(User(id=name, name=name, created_at=clock(session)))
            session.flush()
            session.add(Quota(user_id=name))
    return db


def a_job(user="ann", **changes):
    plain = {
        "user_id": user,
        "kind": "generate",
        "family": "f",
        "family_version": 1,
        "params": {"count": 1},
        "seed": 7,
        "lane": "interactive",
    }
    return NewJob(**{**plain, **changes})


def submit(db, *args, **changes):
    with db.writing() as session:
        return jobs.accept(session, a_job(*args, **changes)).id


def claim(db, limit=1, worker="w", lanes=("interactive", "batch", "train")):
    offer = scheduling.Offer(
        worker_id=worker, lanes=lanes, families={"f": 1}, limit=limit, lease_seconds=60
    )
    with db.writing() as session:
        return [Lease(job.id, job.fence) for job in scheduling.claim(session, offer)]


def row_of(db, job_id):
    with db.reading() as session:
        return session.get(Job, job_id)


def call(db, function, *args, **options):
    with db.writing() as session:
        return function(session, *args, **options)


def test_an_accepted_job_is_queued_with_its_first_event(people):
    job = row_of(people, submit(people, deadline_seconds=60.0))
    assert (job.state, job.version, job.fence, job.attempt) == ("queued", 1, 0, 0)
    assert job.deadline_at == pytest.approx(job.created_at + 60)


def test_one_more_queued_job_than_allowed_is_refused(people):
    with people.writing() as session:
        session.get(Quota, "ann").max_queued_jobs = 2
    submit(people)
    submit(people)
    with pytest.raises(QuotaExceeded):
        submit(people)
    submit(people, "bob")


def test_a_claim_raises_the_fence_and_the_attempt(people):
    job_id = submit(people)
    assert claim(people) == [Lease(job_id, 1)]
    job = row_of(people, job_id)
    assert (job.state, job.attempt, job.owner) == ("running", 1, "w")
    assert claim(people) == []


def test_a_stale_lease_can_change_nothing(people):
    job_id = submit(people)
    [old] = claim(people)
    assert call(people, jobs.give_back, old, "drain")
    [new] = claim(people)
    assert new.fence > old.fence
    assert call(people, jobs.heartbeat, "w", {old: 1.0}, 60) == {old: None}
    assert not call(people, jobs.report, old, Report(step=1))
    assert not call(people, jobs.fail, old, "x", "y")
    assert not call(people, jobs.give_back, old, "drain")
    assert call(people, jobs.strike, old, "x", "y") == ""
    with pytest.raises(LeaseLost):
        call(people, jobs.succeed, old, Outcome())
    assert row_of(people, job_id).state == "running"


def test_the_lease_of_a_worker_is_of_no_use_to_another(people):
    submit(people)
    [lease] = claim(people)
    assert call(people, jobs.heartbeat, "stranger", {lease: 1.0}, 60) == {lease: None}


def test_success_leaves_one_result_with_its_artifacts_and_model(people):
    job_id = submit(people, kind="train", lane="train", name="my model")
    [lease] = claim(people)
    outcome = Outcome(
        artifacts=[
            NewArtifact(
                index=0,
                name="0000.txt",
                media_type="text/plain",
                bytes=3,
                sha256="a" * 64,
                location=f"artifacts/{job_id}/1/0000.txt",
            )
        ],
        model=NewModel(
            id="m",
            location="models/m",
            files={},
            sha256="b" * 64,
            bytes=9,
            generate_schema={},
            facts={},
        ),
        metrics={"loss": 1.0},
        seconds=2.0,
    )
    job = call(people, jobs.succeed, lease, outcome)
    assert (job.state, job.device_seconds) == ("succeeded", 2.0)
    with people.reading() as session:
        assert session.get(Result, job_id).model_id == "m"
        assert session.scalars(select(Artifact)).one().user_id == "ann"
        assert session.get(Model, "m").name == "my model"
        last = session.scalars(select(JobEvent).order_by(JobEvent.n)).all()[-2:]
    assert [event.type for event in last] == ["result", "state"]
    with pytest.raises(LeaseLost):
        call(people, jobs.succeed, lease, outcome)


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_flagged(people):
    first, second = submit(people), submit(people)
    assert call(people, jobs.request_cancel, second).state == "cancelled"
    assert call(people, jobs.request_cancel, second).state == "cancelled"
    [lease] = claim(people)
    assert lease.job_id == first
    assert call(people, jobs.request_cancel, first).state == "running"
    assert call(people, jobs.heartbeat, "w", {lease: 0.1}, 60)[lease].cancel
    with pytest.raises(LeaseLost):
        call(people, jobs.succeed, lease, Outcome())
    assert call(people, jobs.finish_cancel, lease)
    assert row_of(people, first).state == "cancelled"


def test_an_ended_job_cannot_be_cancelled(people):
    job_id = submit(people)
    [lease] = claim(people)
    call(people, jobs.succeed, lease, Outcome())
    with pytest.raises(AlreadyEnded):
        call(people, jobs.request_cancel, job_id)


def test_a_paused_job_is_not_claimed_and_a_running_one_is_told(people):
    job_id = submit(people)
    call(people, jobs.pause, job_id)
    assert claim(people) == []
    call(people, jobs.resume, job_id)
    [lease] = claim(people)
    call(people, jobs.pause, job_id)
    assert call(people, jobs.heartbeat, "w", {lease: 0.1}, 60)[lease].pause
    call(people, jobs.give_back, lease, "pause")
    assert claim(people) == []


def test_the_third_strike_fails_and_progress_pays_strikes_off(people):
    job_id = submit(people, kind="train", lane="train")
    for step, strikes in ((1, 1), (2, 1)):
        [lease] = claim(people)
        place = f"checkpoints/{job_id}/{lease.fence}/{step}.safetensors"
        facts = {"step": step, "location": place, "sha256": "0" * 64, "size": 1}
        assert call(people, jobs.add_checkpoint, lease, **facts)
        assert call(people, jobs.strike, lease, "runner_crashed", "SIGSEGV") == "queued"
        job = row_of(people, job_id)
        assert job.strikes == strikes
        assert job.not_before > job.created_at
        forget_the_wait(people, job_id)
    [lease] = claim(people)
    assert call(people, jobs.strike, lease, "runner_crashed", "SIGSEGV") == "queued"
    forget_the_wait(people, job_id)
    [lease] = claim(people)
    assert call(people, jobs.strike, lease, "runner_crashed", "SIGSEGV") == "failed"
    assert row_of(people, job_id).error_code == "poison"
    with people.reading() as session:
        steps = [point.step for point in jobs.newest_checkpoints(session, job_id)]
    assert steps == [2, 1]


def forget_the_wait(db, job_id):
    with db.writing() as session:
        session.execute(update(Job).where(Job.id == job_id).values(not_before=None))


def test_suspects_of_a_batch_come_back_alone_without_a_strike(people):
    job_id = submit(people)
    [lease] = claim(people)
    state = call(people, jobs.strike, lease, "crash", "died", suspects_batch=True)
    job = row_of(people, job_id)
    assert (state, job.no_batch, job.strikes, job.not_before) == ("queued", True, 0, None)


def test_out_of_memory_keeps_its_name_at_the_third_strike(people):
    job_id = submit(people)
    for _ in range(3):
        [lease] = claim(people)
        call(people, jobs.strike, lease, "oom", "no memory")
        forget_the_wait(people, job_id)
    assert row_of(people, job_id).error_code == "oom"


def test_an_expired_lease_is_a_loss_and_no_strike(people):
    job_id = submit(people)
    [lease] = claim(people)
    with people.writing() as session:
        assert jobs.reap(session) == 0
        session.execute(update(Job).values(lease_until=1.0))
        assert jobs.reap(session) == 1
    job = row_of(people, job_id)
    assert (job.state, job.losses, job.strikes, job.fence) == ("queued", 1, 0, 2)
    assert not call(people, jobs.fail, lease, "x", "y")


def test_a_flagged_job_of_a_dead_worker_ends_cancelled(people):
    job_id = submit(people)
    claim(people)
    call(people, jobs.request_cancel, job_id)
    with people.writing() as session:
        session.execute(update(Job).values(lease_until=1.0))
        jobs.reap(session)
    assert row_of(people, job_id).state == "cancelled"


def test_a_child_waits_for_its_parent_and_fails_with_it(people):
    parent = submit(people)
    child = submit(people, waits_for=parent, priority=9)
    [lease] = claim(people, limit=5)
    assert lease.job_id == parent
    call(people, jobs.fail, lease, "own_fault", "broke")
    assert call(people, jobs.reap) == 1
    assert row_of(people, child).error_code == "parent_failed"


def test_a_child_is_claimed_once_its_parent_succeeded(people):
    parent = submit(people)
    child = submit(people, waits_for=parent)
    [lease] = claim(people)
    call(people, jobs.succeed, lease, Outcome())
    assert [lease.job_id for lease in claim(people)] == [child]


def test_a_deadline_fails_a_queued_job_and_is_told_to_the_holder(people):
    late = submit(people, deadline_seconds=60.0)
    running = submit(people, deadline_seconds=60.0, priority=5)
    [lease] = claim(people)
    assert lease.job_id == running
    with people.writing() as session:
        session.execute(update(Job).values(deadline_at=1.0))
    assert claim(people) == []
    assert call(people, jobs.reap) == 1
    assert row_of(people, late).error_code == "deadline"
    assert call(people, jobs.heartbeat, "w", {lease: 0.1}, 60)[lease].deadline


def test_a_version_that_nobody_offers_any_more_fails_after_a_day(people):
    job_id = submit(people)
    with people.writing() as session:
        at = clock(session)
        session.add(FamilyRow(name="f", version=1, announcement={}, announced_at=at - 90_000))
        assert jobs.reap(session) == 0
        session.execute(update(Job).values(created_at=at - 90_000))
        assert jobs.reap(session) == 1
    assert row_of(people, job_id).error_code == "version_gone"


def test_use_is_charged_beyond_what_was_prepaid_and_settled_at_the_end(people):
    submit(people, estimate_seconds=10.0)
    [lease] = claim(people)
    assert share_of(people, "ann").vtime == 10.0
    call(people, jobs.heartbeat, "w", {lease: 4.0}, 60)
    assert share_of(people, "ann").vtime == 10.0
    call(people, jobs.heartbeat, "w", {lease: 8.0}, 60)
    assert share_of(people, "ann").vtime == pytest.approx(12.0)
    call(people, jobs.succeed, lease, Outcome(seconds=1.0))
    share = share_of(people, "ann")
    assert (share.vtime, share.device_seconds) == (pytest.approx(13.0), pytest.approx(13.0))


def test_what_was_prepaid_and_not_used_is_given_back(people):
    submit(people, estimate_seconds=10.0)
    [lease] = claim(people)
    call(people, jobs.succeed, lease, Outcome(seconds=1.0))
    assert share_of(people, "ann").vtime == pytest.approx(1.0)


def share_of(db, user):
    with db.reading() as session:
        return session.get(UserShare, user)


def test_a_log_is_capped(people):
    submit(people)
    [lease] = claim(people)
    for _ in range(5):
        call(people, jobs.report, lease, Report(log="x" * 40 + "\n"), most_log_bytes=100)
    with people.reading() as session:
        texts = list(session.scalars(select(JobLog.text).order_by(JobLog.n)))
    assert len(texts) == 3
    assert texts[-1].endswith("[The log is full.]\n")
    # nor do the events grow, which hold the same text
    assert sum(map(len, texts)) < 130
    with people.reading() as session:
        told = session.scalars(select(JobEvent.data).where(JobEvent.type == "log"))
        assert [data["text"] for data in told] == texts


def test_a_log_that_comes_in_one_piece_is_cut(people):
    submit(people)
    [lease] = claim(people)
    call(people, jobs.report, lease, Report(log="é" * 1000), most_log_bytes=101)
    with people.reading() as session:
        [text] = session.scalars(select(JobLog.text))
    assert text == "é" * 50 + "\n[The log is full.]\n"


def test_what_raises_in_a_savepoint_takes_back_its_charges_and_no_others(people):
    submit(people, estimate_seconds=0.0)
    [lease] = claim(people)
    with people.writing() as session:
        jobs.heartbeat(session, "w", {lease: 5.0}, 60)
        with pytest.raises(LeaseLost), shares.apart(session):
            shares.charge(session, "ann", 1000.0)
            jobs.succeed(session, Lease(lease.job_id, 99), Outcome())
        with shares.apart(session):
            shares.charge(session, "ann", 2.0)
    with people.reading() as session:
        assert session.get(UserShare, "ann").vtime == 7.0
