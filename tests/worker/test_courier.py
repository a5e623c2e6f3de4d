"""The courier of a cpu worker: what is due arrives, a slow receiver delays nobody else, an outage loses nothing."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from shared import jobs, webhooks
from shared.ids import new_id
from shared.models import OutboxMessage, Webhook
from shared.schema import revisions
from tests.receiver import LOOPBACK, Receiver
from tests.servers import wait_until
from tests.work import Work
from worker.courier import LINES, Courier


@pytest.fixture
def work(settings, db):
    return Work(settings, db)


@pytest.fixture
def courier(settings, db):
    made = Courier(settings.model_copy(update={"webhook_networks": LOOPBACK}), db)
    made.start()
    yield made
    assert made.stop(20)


@pytest.fixture
def hook(db, work):
    def make(url, **values):
        row = {"user_id": work.user_id, "name": "mine", "url": url, "created_at": 1.0}
        row |= {"events": " ".join(webhooks.EVENTS), "secret": webhooks.new_secret()}
        with db.writing() as session:
            made = Webhook(id=new_id(), **(row | values))
            session.add(made)
        return made

    return make


def end(db, work, count=1):
    ids = [work.generate(steps=1) for _ in range(count)]
    for job_id in ids:
        with db.writing() as session:
            jobs.request_cancel(session, job_id)
    return ids


def messages(db):
    with db.reading() as session:
        return list(session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)))


def is_settled(message, attempts):
    return message.attempts == attempts and message.lease_until is None


def all_sent(db):
    wait_until(lambda: {m.state for m in messages(db)} == {"sent"}, what="all messages sent")


def test_what_a_job_owes_arrives_signed(db, work, hook, courier):
    with Receiver() as receiver:
        row = hook(receiver.url)
        (job_id,) = end(db, work)
        (letter,) = receiver.wait()
        said = letter.opened(row.secret)
        all_sent(db)
    assert (said["type"], said["data"]["id"]) == ("job.cancelled", job_id)
    assert letter.id == messages(db)[0].id
    assert letter.headers["content-type"] == "application/json"


def test_a_failure_is_tried_again_with_the_same_id_and_bytes(db, work, hook, courier):
    with Receiver(500, 302) as receiver:
        row = hook(receiver.url)
        end(db, work)
        for count in (1, 2):
            receiver.wait(count)
            wait_until(lambda n=count: is_settled(messages(db)[0], n))
            with db.writing() as session:  # the schedule is shared/webhooks.py's
                session.execute(update(OutboxMessage).values(due_at=1.0))
        letters = receiver.wait(3)
        all_sent(db)
    assert len({(letter.id, letter.body) for letter in letters}) == 1
    assert all(letter.opened(row.secret) for letter in letters)
    assert messages(db)[0].attempts == 3


def test_a_receiver_that_holds_on_delays_nobody_else(db, work, hook, courier, settings):
    """Attack 74: more silence than there are lines for one webhook; the other one hears all."""
    let_go = threading.Event()
    holding = [lambda handler: let_go.wait(30)] * 50
    with Receiver(*holding) as slow, Receiver() as quick:
        hook(slow.url)
        hook(quick.url)
        end(db, work, 12)
        assert len(quick.wait(12)) == 12
        assert len(slow.letters) < 12
        let_go.set()


def test_many_receivers_are_told_at_once(db, work, hook, courier):
    """As many as there are lines: each waits for the others to be there."""
    together = threading.Barrier(min(LINES, 4))

    def meet(handler):
        together.wait(20)
        handler.send_response(204)
        handler.end_headers()

    with Receiver(*[meet] * together.parties) as receiver:
        hook(receiver.url)
        end(db, work, together.parties)
        all_sent(db)


def test_an_address_inside_is_refused_by_the_worker_too(db, settings, work, hook):
    """Saved when the settings allowed it, or by a name that led elsewhere then."""
    courier = Courier(settings, db)  # no network is open
    with Receiver() as receiver:
        hook(receiver.url)
        end(db, work)
        courier.start()
        wait_until(lambda: messages(db)[0].error == "refused", what="the refusal")
        assert courier.stop(20)
        assert receiver.letters == []


def test_an_answer_that_cannot_be_written_is_written_later(db, work, hook, courier, monkeypatch):
    settle, failures = webhooks.settle, [1, 1]

    def away(session, *rest):
        if failures:
            failures.pop()
            raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))
        settle(session, *rest)

    monkeypatch.setattr(webhooks, "settle", away)
    with Receiver() as receiver:
        hook(receiver.url)
        end(db, work)
        all_sent(db)
    assert failures == []
    assert len(receiver.letters) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_sent_while_the_schema_is_another(db, work, hook, settings):
    with db.writing() as session:
        session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        session.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    courier = Courier(settings.model_copy(update={"webhook_networks": LOOPBACK}), db)
    with Receiver() as receiver:
        hook(receiver.url)
        end(db, work)
        for _ in range(3):
            courier.send_due()
        assert messages(db)[0].attempts == 0
        with db.writing() as session:
            session.execute(
                text("UPDATE alembic_version SET version_num = :v"), {"v": revisions()[-1]}
            )
        courier.send_due()
        all_sent(db)
    assert courier.stop(20)


def test_stopping_waits_for_what_is_being_sent(db, work, hook, settings):
    courier = Courier(settings.model_copy(update={"webhook_networks": LOOPBACK}), db)
    courier.start()
    asked, let_go = threading.Event(), threading.Event()

    def slow(handler):
        asked.set()
        let_go.wait(20)
        handler.send_response(204)
        handler.end_headers()

    with Receiver(slow) as receiver:
        hook(receiver.url)
        end(db, work)
        assert asked.wait(20)
        threading.Timer(0.3, let_go.set).start()
        assert courier.stop(20)
    assert messages(db)[0].state == "sent"
