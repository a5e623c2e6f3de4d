"""Short tasks: claimed by one, leased, retried, failed at the third time, once for each slot."""

from __future__ import annotations

from shared import short_tasks
from shared.models import ShortTask


def add(db, **more):
    with db.writing() as session:
        return short_tasks.add(session, "sweep", {"n": 1}, **more)


def claim(db, lease=60.0):
    with db.writing() as session:
        return short_tasks.claim_due(session, lease)


def row(db, task_id):
    with db.reading() as session:
        return session.get(ShortTask, task_id)


def expire(db, task):
    with db.writing() as session:
        session.get(ShortTask, task.id).lease_until = 1.0


def test_a_task_is_claimed_by_one(db):
    added = add(db)
    claimed = claim(db)
    assert (claimed.id, claimed.state, claimed.arguments) == (added.id, "running", {"n": 1})
    assert claim(db) is None


def test_a_finished_task_is_done(db):
    add(db)
    task = claim(db)
    with db.writing() as session:
        assert short_tasks.finish(session, task, task.fence)
    assert row(db, task.id).state == "done"
    assert claim(db) is None


def test_a_task_that_is_put_off_was_not_tried(db):
    add(db)
    for _ in range(2 * short_tasks.STRIKES):
        task = claim(db)
        with db.writing() as session:
            assert short_tasks.put_off(session, task, task.fence, "The disk is full.", 60)
        found = row(db, task.id)
        assert (found.state, found.strikes, found.error) == ("queued", 0, "The disk is full.")
        assert claim(db) is None
        with db.writing() as session:
            session.get(ShortTask, task.id).not_before = None
    assert claim(db) is not None


def test_a_slot_is_filled_once(db):
    assert add(db, slot="sweep:1") is not None
    assert add(db, slot="sweep:1") is None
    assert add(db, slot="sweep:2") is not None


def test_the_oldest_goes_first(db):
    first, second = add(db), add(db)
    assert [claim(db).id, claim(db).id] == [first.id, second.id]


def test_a_task_whose_holder_died_is_due_again_and_the_dead_cannot_write(db):
    add(db)
    dead = claim(db)
    expire(db, dead)
    again = claim(db)
    assert again.id == dead.id and again.fence > dead.fence
    with db.writing() as session:
        assert not short_tasks.finish(session, dead, dead.fence)
        assert not short_tasks.renew(session, dead, dead.fence, 60)
        assert short_tasks.renew(session, again, again.fence, 60)


def test_a_failed_task_waits_and_fails_for_good_at_the_third_time(db):
    add(db)
    for _ in range(short_tasks.STRIKES):
        task = claim(db)
        with db.writing() as session:
            assert short_tasks.retry_or_fail(session, task, task.fence, "no luck")
            session.get(ShortTask, task.id, populate_existing=True).not_before = None
    found = row(db, task.id)
    assert (found.state, found.error) == ("failed", "no luck")
    assert claim(db) is None


def test_a_retry_waits(db):
    add(db)
    task = claim(db)
    with db.writing() as session:
        short_tasks.retry_or_fail(session, task, task.fence, "no luck")
    assert row(db, task.id).state == "queued"
    assert claim(db) is None


def test_a_task_that_kills_its_holders_fails(db):
    add(db)
    for _ in range(short_tasks.STRIKES):
        task = claim(db)
        expire(db, task)
    assert claim(db) is None
    with db.writing() as session:
        assert short_tasks.fail_worn_out(session) == 1
    assert row(db, task.id).state == "failed"


def test_due_since_sees_what_has_waited(db):
    add(db)
    with db.reading() as session:
        assert short_tasks.due_since(session, -1)
        assert not short_tasks.due_since(session, 1000)
