"""Running jobs and device-seconds a day, where SQL decides: the claim and the submit. On both databases."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event, update

from shared import jobs, quotas, scheduling
from shared.db import clock
from shared.errors import QuotaExceeded
from shared.jobs import Lease, NewJob, Outcome
from shared.models import Job, Quota, User, UserShare

LANES = ("interactive", "train")
FAMILIES = {"f": 1}


@pytest.fixture
def people(db):
    with db.writing() as session:
        for name in ("ann", "bob"):
            session.add(User(id=name, name=name, created_at=clock(session)))
            session.flush()
            session.add_all([Quota(user_id=name), UserShare(user_id=name)])
    return db


def allow(db, user="ann", **values):
    with db.writing() as session:
        session.execute(update(Quota).where(Quota.user_id == user).values(**values))


def submit(db, user="ann", **changes):
    plain = {
        "kind": "generate",
        "family": "f",
        "family_version": 1,
        "params": {},
        "seed": 7,
        "lane": "interactive",
        "estimate_seconds": 1.0,
    }
    with db.writing() as session:
        return jobs.accept(session, NewJob(user_id=user, **{**plain, **changes})).id


def claim(db, limit=10, default=0, worker="w"):
    offer = scheduling.Offer(
        worker_id=worker,
        lanes=LANES,
        families=FAMILIES,
        limit=limit,
        lease_seconds=60,
        max_running_jobs=default,
    )
    with db.writing() as session:
        return [(job.user_id, Lease(job.id, job.fence)) for job in scheduling.claim(session, offer)]


def succeed(db, lease, seconds=0.0):
    with db.writing() as session:
        jobs.succeed(session, lease, Outcome(seconds=seconds))


def has_work(db, default=0):
    with db.reading() as session:
        return scheduling.lanes_with_work(session, FAMILIES, LANES, default)


# ---- running jobs ------------------------------------------------------------------------------


def test_a_user_at_his_cap_is_passed_over_and_others_are_not(people):
    allow(people, max_running_jobs=2)
    for _ in range(5):
        submit(people, "ann")
        submit(people, "bob")
    first = claim(people)
    assert [user for user, _ in first].count("ann") == 2
    assert [user for user, _ in first].count("bob") == 5
    assert claim(people) == []
    succeed(people, next(lease for user, lease in first if user == "ann"))
    assert [user for user, _ in claim(people)] == ["ann"]


def test_the_installation_s_cap_holds_for_whose_quota_says_nothing(people):
    allow(people, "bob", max_running_jobs=3)
    for user in ("ann", "bob"):
        for _ in range(4):
            submit(people, user)
    users = [user for user, _ in claim(people, default=1)]
    assert (users.count("ann"), users.count("bob")) == (1, 3)


def test_a_cap_counts_running_jobs_of_every_lane(people):
    allow(people, max_running_jobs=1)
    submit(people, kind="train", lane="train")
    submit(people)
    assert len(claim(people)) == 1
    assert claim(people) == []


def test_a_cap_of_nothing_starts_nothing(people):
    allow(people, max_running_jobs=0)
    submit(people)
    assert claim(people) == []
    assert not has_work(people)


def test_there_is_no_work_while_all_who_wait_are_at_their_caps(people):
    allow(people, max_running_jobs=1)
    submit(people)
    submit(people)
    assert has_work(people)
    claim(people)
    assert not has_work(people)
    submit(people, "bob")
    assert has_work(people)


def test_workers_that_claim_at_once_keep_to_the_cap(people):
    allow(people, max_running_jobs=3)
    for _ in range(30):
        submit(people)
    barrier, taken = threading.Barrier(6), []

    def work(n):
        barrier.wait()
        for _ in range(3):
            taken.extend(claim(people, worker=f"w{n}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken.extend(claim(people))
    assert len(taken) == 3


def test_a_training_does_not_rotate_for_somebody_who_may_not_start(people):
    mine = submit(people, kind="train", lane="train")
    claim(people)
    submit(people, "bob", kind="train", lane="train")
    allow(people, "bob", max_running_jobs=0)
    with people.writing() as session:
        session.execute(update(UserShare).where(UserShare.user_id == "ann").values(vtime=99.0))
        assert not scheduling.should_rotate(session, session.get(Job, mine))
        session.execute(update(Quota).values(max_running_jobs=None))
        assert scheduling.should_rotate(session, session.get(Job, mine))


def test_a_claim_of_a_capped_user_asks_as_much_however_many_jobs_wait(people):
    """The claim looks at users, not at their queues: its statements do not grow with them."""
    allow(people, max_running_jobs=1)
    counts = []
    for _ in range(2):
        for _ in range(40):
            submit(people)
        statements = []
        event.listen(
            people.engine, "before_cursor_execute", lambda *a, said=statements: said.append(a[2])
        )
        claim(people)
        claim(people)
        counts.append(len(statements))
        with people.writing() as session:
            session.execute(update(Job).where(Job.state == "running").values(state="cancelled"))
    # the listener of the first round hears the second one too
    assert counts[0] == counts[1]


# ---- device-seconds a day ------------------------------------------------------------------------


def test_a_submit_reserves_its_estimate_and_the_end_settles_it(people):
    allow(people, max_device_seconds_a_day=100.0)
    submit(people, estimate_seconds=60.0)
    with pytest.raises(QuotaExceeded) as refused:
        submit(people, estimate_seconds=60.0)
    facts = refused.value.facts["quota"]
    assert facts["name"] == "device_seconds_a_day"
    assert (facts["used"], facts["reserved"], facts["needed"]) == (0.0, 60.0, 60.0)
    assert "when your queued and running jobs end" in refused.value.message
    [(_, lease)] = claim(people)
    with pytest.raises(QuotaExceeded):
        submit(people, estimate_seconds=60.0)
    age(people, 3600, job_id=lease.job_id)
    succeed(people, lease, seconds=15.0)
    submit(people, estimate_seconds=60.0)
    with people.reading() as session:
        assert quotas.used_today(session, "ann", clock(session)) == pytest.approx(15.0)
        assert quotas.reserved_seconds(session, "ann") == 60.0


def age(db, seconds, job_id=None):
    """As if the jobs had been made, begun and ended so much earlier."""
    with db.writing() as session:
        which = [Job.id == job_id] if job_id else []
        session.execute(
            update(Job)
            .where(*which)
            .values(
                created_at=Job.created_at - seconds,
                started_at=Job.started_at - seconds,
                finished_at=Job.finished_at - seconds,
            )
        )


def done(db, seconds, ago, took=None):
    """A job that ended `ago` seconds ago, having run for `took`."""
    job_id = submit(db, estimate_seconds=0.1)
    [(_, lease)] = claim(db)
    age(db, took or seconds, job_id)
    succeed(db, lease, seconds)
    age(db, ago, job_id)


def test_what_was_used_leaves_the_day_after_24_hours(people):
    done(people, 80.0, ago=3600)
    done(people, 5.0, ago=1800)
    allow(people, max_device_seconds_a_day=100.0)
    with pytest.raises(QuotaExceeded) as refused:
        submit(people, estimate_seconds=50.0)
    facts = refused.value.facts["quota"]
    assert facts["frees_at"] in refused.value.message
    with people.reading() as session:
        # the first of them, an hour ago, must leave
        expected = quotas._moment(clock(session) - 3600 + quotas.DAY)
    assert facts["frees_at"][:15] == expected[:15]
    age(people, quotas.DAY - 3000)
    submit(people, estimate_seconds=50.0)


def test_of_a_long_job_only_the_part_inside_the_day_counts(people):
    done(people, 3 * quotas.DAY, ago=quotas.DAY - 600, took=3 * quotas.DAY)
    with people.reading() as session:
        used = quotas.used_today(session, "ann", clock(session))
    assert used == pytest.approx(600, abs=60)


def test_a_job_that_is_larger_than_a_day_says_so(people):
    allow(people, max_device_seconds_a_day=10.0)
    with pytest.raises(QuotaExceeded, match="cannot run under this quota"):
        submit(people, estimate_seconds=11.0)


def test_an_unknown_estimate_reserves_a_little(people):
    allow(people, max_device_seconds_a_day=2.5 * quotas.UNKNOWN_SECONDS)
    submit(people, estimate_seconds=None)
    submit(people, estimate_seconds=None)
    with pytest.raises(QuotaExceeded):
        submit(people, estimate_seconds=None)


def test_a_job_that_runs_longer_than_estimated_holds_what_it_used(people):
    submit(people, estimate_seconds=1.0)
    [(_, lease)] = claim(people)
    with people.writing() as session:
        jobs.heartbeat(session, "w", {lease: 40.0}, 60)
    with people.reading() as session:
        assert quotas.reserved_seconds(session, "ann") == pytest.approx(40.0)


def test_the_installation_s_day_holds_for_whose_quota_says_nothing(people):
    submit(people, max_device_seconds_a_day=1.5)
    with pytest.raises(QuotaExceeded):
        submit(people, max_device_seconds_a_day=1.5)
    allow(people, max_device_seconds_a_day=1000.0)
    submit(people, max_device_seconds_a_day=1.5)


def test_a_deactivated_owner_s_running_job_is_asked_to_stop_by_the_reaper(people):
    job_id = submit(people)
    claim(people)
    with people.writing() as session:
        session.execute(update(User).where(User.id == "ann").values(active=False))
        assert jobs.reap(session) == 1
        assert jobs.reap(session) == 0
    with people.reading() as session:
        assert session.get_one(Job, job_id).cancel_requested_at


def test_counting_active_jobs_reads_nobodys_history(people):
    for user in ("ann", "ann", "bob"):
        submit(people, user)
    (first, *_) = claim(people, limit=1)
    submit(people, first[0])
    with people.reading() as session:
        assert quotas.active_jobs(session, "ann") + quotas.active_jobs(session, "bob") == 4
        assert quotas.running_jobs(session, first[0]) == 1
        if not people.is_sqlite:
            return
        asked = []
        event.listen(
            session.connection(), "before_cursor_execute", lambda *args: asked.append(args[2:4])
        )
        quotas.active_jobs(session, "ann")
        plans = [
            session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
            for sql, values in list(asked)
        ]
    assert "ix_job_claim" in str(plans[0])
    assert "ix_job_user" not in str(plans[1])
