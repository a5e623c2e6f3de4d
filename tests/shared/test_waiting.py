"""Places in the queue, when a job starts, and how long a running one has left."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from shared import jobs, waiting
from shared.db import clock
from shared.jobs import NewJob, Outcome
from shared.models import Job, User, UserShare, Worker
from tests.shared.test_scheduling import claim, submit


@pytest.fixture
def people(db):
    with db.writing() as session:
        for name in ("ann", "bob", "eve"):
            session.add(User(id=name, name=name, created_at=clock(session)))
    add_worker(db, "w")
    return db


def add_worker(db, name, **changes):
    with db.writing() as session:
        at = clock(session)
        plain = {"kind": "device", "families": {"f": 1}, "facts": {}, "state": "ready"}
        times = {"started_at": at, "heartbeat_at": at}
        session.add(Worker(id=name, **{**plain, **times, **changes}))


def train(db, user, seconds=100.0, **changes):
    return submit(db, user, kind="train", lane="train", estimate_seconds=seconds, **changes)


def place(db, job_id):
    with db.reading() as session:
        return waiting.places(session, [session.get(Job, job_id)])[job_id]


def starts_in(db, job_id):
    """Seconds from now; None when unknown."""
    found = place(db, job_id)
    with db.reading() as session:
        return None if found.starts_at is None else found.starts_at - clock(session)


def change(db, job_id, **values):
    with db.writing() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def now(db):
    with db.reading() as session:
        return clock(session)


def test_positions_follow_the_order_in_which_jobs_are_claimed(people):
    for user, count in (("ann", 4), ("bob", 2), ("eve", 1)):
        for _ in range(count):
            submit(people, user, estimate_seconds=1.0)
    with people.reading() as session:
        queued = session.scalars(select(Job)).all()
    predicted = {job.id: place(people, job.id).position for job in queued}
    for round_, at in enumerate(range(7)):
        [(_, lease)] = claim(people)
        assert abs(predicted[lease.job_id] - (at + 1)) <= 1, round_
        with people.writing() as session:
            jobs.succeed(session, lease, Outcome(seconds=1.0))
    with people.reading() as session:
        assert waiting.places(session, session.scalars(select(Job)).all()) == {}


def test_a_list_tells_the_places_that_each_look_tells(people):
    """A list is summed by windows, one job by what comes after it."""
    for n in range(6):
        submit(people, "ann", estimate_seconds=float(n) or None, priority=n % 3)
        submit(people, "bob", estimate_seconds=2.0)
        submit(people, "ann", lane="batch", estimate_seconds=5.0)
    with people.reading() as session:
        mine = session.scalars(select(Job).where(Job.user_id == "ann")).all()
    change(people, mine[4].id, paused_at=1.0)
    with people.reading() as session:
        mine = session.scalars(select(Job).where(Job.user_id == "ann")).all()
        listed = waiting.places(session, mine)
    assert len({(job.lane, listed[job.id].position) for job in mine}) == len(mine)
    for job in mine:
        alone = place(people, job.id)
        assert (alone.position, alone.reason) == (listed[job.id].position, listed[job.id].reason)


def test_long_jobs_of_another_count_by_their_length(people):
    """Who asks for hours gives way to who asks for seconds, as the claim will have it."""
    for _ in range(5):
        train(people, "bob", 1000.0)
    mine = [train(people, "ann", 10.0) for _ in range(5)]
    assert [place(people, job).position for job in mine] == [1, 3, 4, 5, 6]


def test_a_free_device_starts_the_next_at_once(people):
    job = train(people, "ann")
    found = place(people, job)
    assert (found.position, found.reason) == (1, "starting")
    assert starts_in(people, job) == pytest.approx(0, abs=2)


def test_running_and_earlier_trainings_are_waited_for(people):
    running, second, third = (train(people, "ann", seconds) for seconds in (100.0, 50.0, 10.0))
    claim(people, lanes=("train",))
    assert starts_in(people, second) == pytest.approx(100, abs=3)
    assert starts_in(people, third) == pytest.approx(150, abs=3)
    assert place(people, third).reason == "device_busy"
    # its own pace is better known than its estimate: 30 s for 10 of 40 steps
    at = now(people)
    change(people, running, started_at=at - 30, progress_step=10, progress_total=40)
    assert starts_in(people, second) == pytest.approx(90, abs=3)
    # a second device is free
    add_worker(people, "v")
    assert place(people, second).reason == "starting"
    assert starts_in(people, third) == pytest.approx(50, abs=3)


def test_generations_fit_side_by_side_until_the_device_is_full(people):
    done = [submit(people, "ann", estimate_seconds=10.0) for _ in range(64)]
    last = submit(people, "ann", estimate_seconds=10.0)
    assert place(people, done[40]).reason == "starting"
    assert place(people, last).reason == "device_busy"
    assert 5 < starts_in(people, last) < 30
    # who asks for many outputs needs more room
    many = submit(people, "ann", estimate_seconds=10.0, params={"count": 32})
    assert starts_in(people, many) > 300


def test_the_batch_lane_waits_for_the_interactive_one(people):
    batch = submit(people, "ann", lane="batch", estimate_seconds=100.0)
    assert place(people, batch).reason == "starting"
    for _ in range(70):
        submit(people, "bob", estimate_seconds=10.0)
    found = place(people, batch)
    assert (found.position, found.reason) == (1, "device_busy")


def test_what_nobody_knows_is_said_to_be_unknown(people):
    submit(people, "bob", kind="train", lane="train")  # without an estimate
    claim(people, lanes=("train",))
    job = train(people, "ann")
    found = place(people, job)
    assert (found.position, found.starts_at, found.reason) == (1, None, "unknown")
    # as soon as it tells its pace, it is known
    with people.writing() as session:
        at = clock(session)
        session.execute(
            update(Job)
            .where(Job.state == "running")
            .values(started_at=at - 10, progress_step=1, progress_total=3)
        )
    assert starts_in(people, job) == pytest.approx(20, abs=3)
    # one that runs longer than was thought
    change(people, job, rank=now(people) + 1)
    other = train(people, "eve")
    with people.writing() as session:
        session.execute(
            update(Job).where(Job.state == "running").values(progress_step=0, estimate_seconds=5.0)
        )
    assert place(people, other).reason == "unknown"


def test_every_reason_has_its_word(people):
    paused = train(people, "ann")
    with people.writing() as session:
        jobs.pause(session, paused)
    assert place(people, paused) == waiting.Place(reason="paused")
    parent = train(people, "ann")
    child = submit(people, "ann", waits_for=parent)
    assert place(people, child).reason == "waits_for"
    assert place(people, child).starts_at is None
    late = train(people, "ann")
    change(people, late, not_before=now(people) + 60)
    assert (place(people, late).reason, starts_in(people, late)) == ("backoff", None)
    foreign = train(people, "ann", family_version=9)
    assert (place(people, foreign).reason, starts_in(people, foreign)) == ("no_worker", None)


def test_jobs_that_cannot_run_hold_nobody_up(people):
    for version in (9, 1):
        held_up = train(people, "ann", family_version=version)
    with people.writing() as session:
        jobs.pause(session, held_up)
    parent = train(people, "bob")
    claim(people)
    train(people, "ann", waits_for=parent)
    job = train(people, "ann")
    assert place(people, job).position == 1
    assert starts_in(people, job) == pytest.approx(100, abs=3)  # only the one that runs


def test_a_worker_that_is_gone_or_draining_starts_nothing(people):
    job = train(people, "ann")
    with people.writing() as session:
        session.get(Worker, "w").state = "draining"
    assert place(people, job).reason == "no_worker"
    assert place(people, job).position == 1


def test_a_job_that_is_not_submitted_yet_has_a_place(people):
    new = NewJob(
        user_id="eve", kind="train", family="f", family_version=1, params={}, seed=1, lane="train"
    )
    with people.reading() as session:
        assert waiting.place_of_new(session, new).reason == "starting"
    for _ in range(3):
        train(people, "ann", 20.0)
    with people.reading() as session:
        found = waiting.place_of_new(session, new)
    assert (found.position, found.reason) == (2, "device_busy")
    # and is the place that it gets
    assert place(people, train(people, "eve")).position == 2


def test_who_comes_back_from_idle_is_placed_as_he_will_be(people):
    train(people, "ann")
    with people.writing() as session:
        session.execute(update(UserShare).values(vtime=500.0))
    new = NewJob(
        user_id="bob", kind="train", family="f", family_version=1, params={}, seed=1, lane="train"
    )
    with people.reading() as session:
        assert waiting.place_of_new(session, new).position == 2


def test_what_is_left_is_told_by_its_own_pace(people):
    job_id = train(people, "ann", 60.0)
    claim(people, lanes=("train",))
    at = now(people)

    def left(sharing=1.0, **values):
        change(people, job_id, **values)
        with people.reading() as session:
            return waiting.left_seconds(session.get(Job, job_id), at, sharing)

    assert left(started_at=at - 10) == pytest.approx(50)
    assert left(2.0, started_at=at - 10) == pytest.approx(110)
    assert left(started_at=at - 61) is None
    assert left(progress_step=5, progress_total=20, started_at=at - 10) == pytest.approx(30)
    # a second attempt: the time in the queue between is not its pace
    assert left(attempt=2, started_at=at - 9999, device_seconds=10.0) == pytest.approx(30)
    assert left(progress_step=0, estimate_seconds=None) is None


def test_a_device_that_is_shared_takes_longer(people):
    job_id = train(people, "ann")
    claim(people, lanes=("train",))
    with people.reading() as session:
        assert waiting.sharing(session, [session.get(Job, job_id)]) == {}
    submit(people, "bob")
    claim(people, lanes=("interactive",))
    with people.reading() as session:
        assert waiting.sharing(session, [session.get(Job, job_id)]) == {job_id: 2.0}
