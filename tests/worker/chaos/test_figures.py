"""What is read from rows after a soak: promises that were broken, cancels by what they found, steps made again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from shared import jobs, scheduling
from shared.db import Database, clock
from shared.job_records import Lease
from shared.models import Job, Model
from tests.work import Work, add_model
from worker.chaos import figures
from worker.chaos.faults import Hit, Outages
from worker.chaos.orders import Books, Cancel
from worker.chaos.plan import Order, Plan

RUN = "again"
ORDER = {"at": 0.0, "user": 0, "kind": "generate", "family": "sleep_steps", "params": {}, "seed": 1}


@pytest.fixture
def work(make_settings, sqlite_url):
    db = Database(sqlite_url)
    yield Work(make_settings(database_url=sqlite_url), db)
    db.dispose()


def ordered(work, number: int, **more) -> tuple[Order, str]:
    job_id, order = work.generate(), Order(number, **ORDER | more)
    name = Books(run=RUN).name_of(order)
    with work.db.writing() as session:
        session.execute(update(Job).values(name=name).where(Job.id == job_id))
    return order, job_id


def claim(work) -> Lease:
    offer = scheduling.Offer(
        worker_id="w", lanes=("interactive",), families={"sleep_steps": 1}, limit=1, lease_seconds=9
    )
    with work.db.writing() as session:
        (job,) = scheduling.claim(session, offer)
    return Lease(job.id, job.fence)


def read(work, books: Books, orders, hits=(), log="", outages=None):
    breaker = SimpleNamespace(hits=list(hits), outages=outages or Outages(), offset=0.0)
    plan = Plan(1, 1.0, orders)
    return figures.read(plan, books, work.db, work.storage, breaker, log, lease=3.0)


def kinds(found) -> list[str]:
    return [problem.kind for problem in found.problems]


def now(work) -> float:
    with work.db.reading() as session:
        return clock(session)


def test_a_job_that_has_not_ended_is_lost(work):
    order, job_id = ordered(work, 1)
    assert kinds(read(work, Books(run=RUN, ids={1: {job_id}}), [order])) == ["lost"]


def test_a_job_that_is_gone_is_lost(work):
    assert kinds(read(work, Books(run=RUN, ids={1: {"gone"}}), [Order(1, **ORDER)])) == ["lost"]


def test_two_answers_to_one_key_are_doubled(work):
    (order, first), (_, second) = ordered(work, 1), ordered(work, 1)
    found = kinds(read(work, Books(run=RUN, ids={1: {first, second}}), [order]))
    assert found.count("doubled") == 2  # the answers, and the jobs of one name


def test_a_cancel_that_nobody_asked_for_is_told(work):
    order, job_id = ordered(work, 1)
    work.cancel(job_id)
    assert kinds(read(work, Books(run=RUN, ids={1: {job_id}}), [order])) == ["illegal"]


def test_recovery_is_counted_to_the_queue_and_to_the_next_run(work):
    order, job_id = ordered(work, 1)
    lease = claim(work)
    hit = Hit(now(work), "kill main", now(work), "w", ((job_id, lease.fence),))
    with work.db.writing() as session:
        jobs.give_back(session, lease, "worker_lost")
    claim(work)
    found = read(work, Books(run=RUN), [order], [hit])
    (back,), (again,) = found.taken_back["kill main"], found.recovery["kill main"]
    assert 0 <= back <= again < 5


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("", "running"),
        ("kill child", "dead owner"),
        ("stop main", "running"),
        ("stop runner", "deaf"),
    ],
)
def test_a_cancel_is_told_by_what_it_found(work, fault, kind):
    order, job_id = ordered(work, 1, cancel="running")
    lease = claim(work)
    at = now(work)
    hits = [Hit(at, fault, at, "w", ((job_id, lease.fence),))] if fault else []
    work.cancel(job_id)
    with work.db.writing() as session:
        jobs.finish_cancel(session, lease)
    books = Books(run=RUN, ids={1: {job_id}}, cancels=[Cancel("running", job_id, at, now(work))])
    found = read(work, books, [order], hits)
    assert list(found.cancels) == [kind] and not found.problems


def test_a_queued_cancel_is_timed_from_the_request(work):
    order, job_id = ordered(work, 1, cancel="running")
    at = now(work)
    work.cancel(job_id)
    books = Books(run=RUN, ids={1: {job_id}}, cancels=[Cancel("running", job_id, at, now(work))])
    assert list(read(work, books, [order]).cancels) == ["queued"]


def test_a_queued_cancel_that_met_no_server_is_not_timed(work):
    order, job_id = ordered(work, 1, cancel="running")
    at = now(work)
    work.cancel(job_id)
    books = Books(run=RUN, ids={1: {job_id}}, cancels=[Cancel("running", job_id, at, at + 9)])
    assert not read(work, books, [order], outages=Outages(web=[[at + 1, at + 8]])).cancels


def told(*steps: str) -> str:
    return "".join(json.dumps({"level": "info", "message": f"step {one}"}) + "\n" for one in steps)


def test_steps_made_again_are_counted(work):
    log = told("1 1", "1 2", "1 2", "2 2") + "step 1 3\n"
    found = read(work, Books(run=RUN), [], log=log)
    assert (found.steps, found.steps_again) == (4, 1)


def trained(work, number: int, seen: list[int] | None, **params) -> tuple[Order, str]:
    """A marked training that has succeeded with these steps in its model."""
    params = {"steps": 10, "validate_every": 5, "mark": f"step {number}"} | params
    job_id, order = work.train(**params), Order(number, **ORDER)
    with work.db.writing() as session:
        session.execute(
            update(Job)
            .values(name=Books(run=RUN).name_of(order), state="succeeded")
            .where(Job.id == job_id)
        )
    model_id = add_model(work.db, work.storage, work.user_id)
    with work.db.writing() as session:
        session.execute(update(Model).values(job_id=job_id).where(Model.id == model_id))
    key = f"models/{model_id}/model.json"
    work.storage.delete(key)
    if seen is not None:
        work.storage.put_bytes(key, json.dumps({"value": 1.5, "seen": seen}).encode())
    return order, job_id


def test_a_measure_of_steps_that_tells_nothing_is_a_problem(work):
    order, _ = trained(work, 1, [*range(1, 11)])
    assert kinds(read(work, Books(run=RUN), [order])) == ["lost"]
    log = told(*(f"1 {step}" for step in range(1, 11)))
    assert kinds(read(work, Books(run=RUN), [order], log=log)) == []


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        ([*range(1, 11)], []),
        ([*range(1, 6), 5, *range(6, 11)], ["doubled"]),
        ([*range(1, 6), *range(7, 11)], ["lost"]),
        ([*range(1, 9)], ["lost"]),
        ([], ["lost"]),
        (None, ["lost"]),
    ],
    ids=["good", "twice", "left out", "cut short", "empty", "no file"],
)
def test_each_step_is_in_the_model_once(work, seen, kind):
    order, _ = trained(work, 1, seen)
    log = told(*(f"1 {step}" for step in range(1, 11)))
    assert kinds(read(work, Books(run=RUN), [order], log=log)) == kind


def test_the_same_training_is_the_same_model(work):
    orders = [trained(work, n, [*range(1, 11)])[0] for n in (1, 2)]
    with work.db.reading() as session:
        last = session.scalars(select(Model).order_by(Model.id.desc())).first()
    key = f"models/{last.id}/model.json"
    work.storage.put_bytes(key, json.dumps({"value": 2.5, "seen": [*range(1, 11)]}).encode())
    log = told(*(f"{n} {step}" for n in (1, 2) for step in range(1, 11)))
    assert kinds(read(work, Books(run=RUN), orders, log=log)) == ["illegal"]


def test_a_cancel_that_was_accepted_and_not_heard_is_told(work):
    order, job_id = trained(work, 1, [*range(1, 11)])
    log = told(*(f"1 {step}" for step in range(1, 11)))
    books = Books(run=RUN, cancels=[Cancel("running", job_id, 0.0, 1.0)])
    assert kinds(read(work, books, [order], log=log)) == ["illegal"]


def test_submits_count_as_without_redis_only_where_web_was_there(work):
    outages = Outages(redis=[[10.0, 20.0]], web=[[15.0, 16.0]])
    books = Books(run=RUN, submits=[(9.0, 9.5), (11.0, 11.25), (15.5, 15.75)])
    assert read(work, books, [], outages=outages).submits_without_redis == [0.25]


def test_submits_beside_a_stopped_process_are_told_apart(work):
    outages = Outages(redis=[[10.0, 20.0]])
    books = Books(run=RUN, submits=[(11.0, 11.25), (12.0, 15.0)])
    stops = [Hit(12.5, "stop child", 14.0), Hit(11.1, "stop redis", 19.0)]
    found = read(work, books, [], hits=stops, outages=outages)
    assert found.submits_without_redis == [0.25]
    assert found.submits_held_up == [3.0]
