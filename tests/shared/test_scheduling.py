"""Order, fairness and the claim."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import update

from shared import jobs, scheduling
from shared.db import clock
from shared.jobs import Lease, NewJob, Outcome
from shared.models import Job, Quota, User, UserShare


@pytest.fixture
def people(db):
    with db.writing() as session:
        for name in ("ann", "bob", "eve"):
            session.add(User(id=name, name=name, created_at=clock(session)))
            session.flush()
            session.add(Quota(user_id=name))
    return db


def submit(db, user, **changes):
    plain = {
        "kind": "generate",
        "family": "f",
        "family_version": 1,
        "params": {},
        "seed": 7,
        "lane": "interactive",
    }
    with db.writing() as session:
        return jobs.accept(session, NewJob(user_id=user, **{**plain, **changes})).id


def claim(db, limit=1, worker="w", lanes=("interactive", "batch", "train"), families=None):
    offer = scheduling.Offer(
        worker_id=worker,
        lanes=lanes,
        families=families or {"f": 1},
        limit=limit,
        lease_seconds=60,
    )
    with db.writing() as session:
        return [(job.user_id, Lease(job.id, job.fence)) for job in scheduling.claim(session, offer)]


def test_users_take_turns_however_many_jobs_one_of_them_has(people):
    for _ in range(6):
        submit(people, "ann")
    submit(people, "bob")
    assert {user for user, _ in claim(people, limit=2)} == {"ann", "bob"}


def test_turns_are_counted_in_device_seconds(people):
    for user in ("ann", "bob"):
        for _ in range(8):
            submit(people, user, estimate_seconds=1.0)
    order = []
    for _ in range(8):
        [(user, lease)] = claim(people)
        order.append(user)
        with people.writing() as session:
            # ann's jobs take three times as long as bob's
            seconds = 3.0 if user == "ann" else 1.0
            jobs.succeed(session, lease, Outcome(seconds=seconds))
    assert order.count("ann") == 2
    assert order.count("bob") == 6


def test_a_weight_of_two_gets_twice_as_much(people):
    for user in ("ann", "bob"):
        for _ in range(12):
            submit(people, user, estimate_seconds=1.0)
    with people.writing() as session:
        session.get(UserShare, "ann").weight = 2.0
    order = []
    for _ in range(9):
        [(user, lease)] = claim(people)
        order.append(user)
        with people.writing() as session:
            jobs.succeed(session, lease, Outcome(seconds=1.0))
    assert order.count("ann") == 6


def test_who_returns_from_idle_starts_level_with_the_busy(people):
    submit(people, "ann")
    with people.writing() as session:
        session.execute(update(UserShare).where(UserShare.user_id == "ann").values(vtime=500.0))
    submit(people, "bob")
    with people.reading() as session:
        assert session.get(UserShare, "bob").vtime == 500.0


def test_priority_is_worth_ten_minutes_of_waiting(people):
    low = submit(people, "ann")
    high = submit(people, "ann", priority=1)
    with people.writing() as session:
        session.execute(update(Job).where(Job.id == low).values(rank=Job.rank - 601))
    assert [lease.job_id for _, lease in claim(people, limit=2)] == [low, high]


def test_higher_priority_goes_first_inside_a_user(people):
    low, high = submit(people, "ann"), submit(people, "ann", priority=1)
    assert [lease.job_id for _, lease in claim(people, limit=2)] == [high, low]


def test_lanes_are_served_in_the_order_of_the_offer(people):
    batch = submit(people, "ann", lane="batch")
    quick = submit(people, "bob")
    found = claim(people, limit=2, lanes=("interactive", "batch"))
    assert [lease.job_id for _, lease in found] == [quick, batch]
    submit(people, "ann", lane="train")
    assert claim(people, lanes=("interactive",)) == []


def test_a_version_that_the_worker_lacks_is_left_alone(people):
    submit(people, "ann", family_version=2)
    assert claim(people) == []
    assert len(claim(people, families={"f": 2})) == 1


def test_a_job_in_back_off_is_left_until_its_time(people):
    job_id = submit(people, "ann")
    with people.writing() as session:
        session.execute(update(Job).values(not_before=clock(session) + 60))
    assert claim(people) == []
    with people.writing() as session:
        session.execute(update(Job).values(not_before=clock(session) - 1))
    assert claim(people)[0][1].job_id == job_id


def test_a_deactivated_user_s_jobs_do_not_start(people):
    submit(people, "ann")
    with people.writing() as session:
        session.get(User, "ann").active = False
    assert claim(people) == []


def test_two_workers_cannot_both_claim(people):
    wanted = {submit(people, user) for user in ("ann", "bob", "eve") for _ in range(10)}
    taken: list[str] = []
    ready = threading.Barrier(4)

    def work(name):
        ready.wait()
        while found := claim(people, limit=2, worker=name):
            taken.extend(lease.job_id for _, lease in found)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    while found := claim(people, limit=2):  # PostgreSQL: rows that another worker had locked
        taken.extend(lease.job_id for _, lease in found)
    assert len(taken) == len(wanted)
    assert set(taken) == wanted


def test_a_training_rotates_only_for_someone_who_has_had_less(people):
    mine = submit(people, "ann", kind="train", lane="train")
    claim(people, lanes=("train",))
    with people.reading() as session:
        assert not scheduling.should_rotate(session, session.get(Job, mine))
    submit(people, "bob", kind="train", lane="train")
    with people.writing() as session:
        session.execute(update(UserShare).where(UserShare.user_id == "bob").values(vtime=0.0))
        assert scheduling.should_rotate(session, session.get(Job, mine))
        session.execute(update(UserShare).where(UserShare.user_id == "bob").values(vtime=99.0))
        assert not scheduling.should_rotate(session, session.get(Job, mine))
