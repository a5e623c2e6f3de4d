"""Messages to webhooks: owed with the end of a job, leased, tried by the schedule, signed; on both databases."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook as Signer

from shared import jobs, webhooks
from shared.errors import Conflict
from shared.ids import new_id
from shared.models import OutboxMessage, Tally, User, Webhook
from shared.webhooks import WAITS, Parcel, Reply
from tests.work import Work

OK, BROKEN = Reply(204), Reply(500, "status")


@pytest.fixture
def work(settings, db):
    return Work(settings, db)


@pytest.fixture
def hook(db, work):
    """hook(user_id=…, events=…): one more webhook."""

    def make(**values):
        defaults = {
            "user_id": work.user_id,
            "name": "mine",
            "url": "https://example.com/",
            "events": " ".join(webhooks.EVENTS),
            "secret": webhooks.new_secret(),
            "created_at": 1.0,
        }
        with db.writing() as session:
            row = Webhook(id=new_id(), **(defaults | values))
            session.add(row)
        return row.id

    return make


@pytest.fixture
def end(db, work):
    """A job of this user's, cancelled while it waits: the shortest life that ends."""

    def make(user_id=""):
        job_id = work.generate(user_id=user_id, steps=1)
        with db.writing() as session:
            jobs.request_cancel(session, job_id)
        return job_id

    return make


def messages(db):
    with db.reading() as session:
        return list(session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)))


def candidates(db, most=8):
    with db.reading() as session:
        return webhooks.candidates(session, most)


def claim(db, most=8, lease=60.0):
    found = candidates(db, most)
    with db.writing() as session:
        return webhooks.claim(session, found, lease)


def settle(db, parcel, reply):
    with db.writing() as session:
        webhooks.settle(session, parcel, reply)


def change(db, table, **values):
    with db.writing() as session:
        session.execute(update(table).values(**values))


def counted(db):
    with db.reading() as session:
        found = select(Tally).where(Tally.name == "webhook_attempts")
        return {tally.label: tally.value for tally in session.scalars(found)}


def row(db, hook_id):
    with db.reading() as session:
        return session.get(Webhook, hook_id)


def test_the_end_of_a_job_owes_a_message_to_each_webhook_that_wants_it(db, work, hook, end):
    wants, other = hook(), hook(events="job.succeeded job.failed")
    job_id = end()
    (message,) = messages(db)
    assert (message.webhook_id, message.topic, message.job_id) == (wants, "job.cancelled", job_id)
    assert message.payload["id"] == job_id
    assert message.payload["state"] == "cancelled"
    assert message.payload["finished_at"].endswith("Z")
    assert "params" not in message.payload
    assert message.payload["error"] is None
    assert other not in {one.webhook_id for one in messages(db)}


def test_nothing_is_owed_without_webhooks_nor_to_those_that_are_off(db, work, hook, end):
    end()
    hook(enabled=False)
    end()
    assert messages(db) == []


def test_other_peoples_webhooks_hear_nothing(db, hook, end, make_user):
    hook(user_id=make_user().id)
    end()
    assert messages(db) == []


def test_a_message_is_claimed_by_one_and_again_when_its_lease_is_over(db, hook, end):
    hook()
    end()
    (first,) = claim(db)
    assert claim(db) == []
    change(db, OutboxMessage, lease_until=1.0, due_at=1.0)
    (second,) = claim(db)
    assert (second.id, second.body) == (first.id, first.body)
    assert second.fence > first.fence
    settle(db, first, BROKEN)  # by who has lost it
    (message,) = messages(db)
    assert (message.state, message.fence, message.status) == ("pending", second.fence, None)
    settle(db, second, OK)
    (message,) = messages(db)
    assert (message.state, message.attempts, message.status) == ("sent", 2, 204)
    assert message.sent_at is not None
    assert claim(db) == []
    assert counted(db) == {"sent": 1}  # of who lost the lease there is nothing


def test_attempts_follow_the_schedule_and_end(db, hook, end):
    hook_id = hook()
    end()
    for attempt, wait in enumerate(WAITS, start=1):
        (parcel,) = claim(db)
        assert parcel.attempts == attempt
        before = datetime.now(UTC).timestamp()
        settle(db, parcel, BROKEN)
        (message,) = messages(db)
        assert message.state == "pending"
        assert wait * 0.79 < message.due_at - before < wait * 1.21 + 5
        assert claim(db) == []
        change(db, OutboxMessage, due_at=1.0)
    (parcel,) = claim(db)
    settle(db, parcel, BROKEN)
    (message,) = messages(db)
    assert (message.state, message.attempts, message.error) == ("failed", len(WAITS) + 1, "status")
    assert claim(db) == []
    assert row(db, hook_id).enabled  # it failed for a moment only


def test_a_webhook_that_nothing_reached_for_days_is_switched_off(db, hook, end):
    hook_id = hook(failing_since=2.0)
    for _ in range(2):
        end()
    change(db, OutboxMessage, attempts=len(WAITS))
    (parcel,) = claim(db)
    settle(db, parcel, BROKEN)
    assert (row(db, hook_id).enabled, row(db, hook_id).stopped_why) == (False, "failing")
    assert {(m.state, m.error) for m in messages(db)} == {
        ("failed", "status"),
        ("failed", "stopped"),
    }


def test_gone_switches_off_at_once(db, hook, end):
    hook_id = hook()
    end()
    (parcel,) = claim(db)
    settle(db, parcel, Reply(410, "status"))
    assert (row(db, hook_id).enabled, row(db, hook_id).stopped_why) == (False, "gone")
    assert messages(db)[0].state == "failed"


def test_what_arrives_ends_the_failing(db, hook, end):
    hook_id = hook()
    end()
    (parcel,) = claim(db)
    settle(db, parcel, Reply(error="timeout"))
    assert row(db, hook_id).failing_since is not None
    change(db, OutboxMessage, due_at=1.0)
    (parcel,) = claim(db)
    settle(db, parcel, OK)
    assert row(db, hook_id).failing_since is None


def test_a_webhook_that_fails_gives_way_and_not_for_ever(db, hook, end):
    failing = hook(failing_since=5.0)
    sound = hook()
    end()
    assert [one.webhook_id for one in candidates(db)] == [sound, failing]
    with db.writing() as session:  # it has waited for long enough
        own = OutboxMessage.webhook_id == failing
        late = OutboxMessage.due_at - webhooks.FAILING_PENALTY - 1
        session.execute(update(OutboxMessage).where(own).values(due_at=late))
    assert [one.webhook_id for one in candidates(db)] == [failing, sound]


def test_nobodys_webhooks_keep_anothers_waiting(db, hook, end, make_user):
    """However many there are, however much they are owed, and however long it has been due."""
    other = make_user().id
    for _ in range(3):
        hook()
    for _ in range(8):
        end()
    change(db, OutboxMessage, due_at=1.0)
    theirs = hook(user_id=other)
    first = [claim(db, most=1)[0] for _ in range(4)]
    end(other)
    assert [one.webhook_id for one in candidates(db, most=1)] == [theirs]
    rest = [parcel for _ in range(8) for parcel in claim(db)]
    assert sum(one.webhook_id != theirs for one in first + rest) == webhooks.PER_USER
    assert theirs in {one.webhook_id for one in rest}


def test_what_kills_each_sender_comes_to_an_end(db, hook, end):
    """By the schedule, too: no answer is ever written."""
    hook()
    end()
    for attempt in range(1, webhooks.MOST_ATTEMPTS + 1):
        (parcel,) = claim(db, lease=1.0)
        assert parcel.attempts == attempt
        (message,) = messages(db)
        wait = WAITS[min(attempt, len(WAITS)) - 1]
        assert message.due_at - message.lease_until > wait * 0.79 - 2
        change(db, OutboxMessage, lease_until=1.0, due_at=1.0)
    assert claim(db) == []
    (message,) = messages(db)
    assert (message.state, message.error) == ("failed", "interrupted")


def test_another_claim_is_not_waited_for(db, hook, end):
    hook()
    end()
    found = candidates(db)
    (first,) = claim(db)
    with db.writing() as session:
        assert webhooks.claim(session, found, 60.0) == []
    settle(db, first, OK)


def test_what_the_old_address_answered_is_no_news_of_the_new_one(db, hook, end):
    hook_id = hook()
    end()
    (parcel,) = claim(db)
    change(db, Webhook, url="https://example.com/new")
    settle(db, parcel, Reply(410, "status"))
    assert row(db, hook_id).enabled
    assert row(db, hook_id).failing_since is None
    assert messages(db)[0].state == "failed"


def test_switched_on_again_it_hears_of_what_ends_from_then_on(db, hook, end):
    """Also of nothing that was owed while it was just being switched off."""
    hook_id = hook()
    end()
    change(db, Webhook, enabled=False)
    with db.writing() as session:
        webhooks.start(session, session.get(Webhook, hook_id))
    assert claim(db) == []
    end()
    assert len(claim(db)) == 1


def test_one_webhook_is_told_a_few_things_at_a_time(db, hook, end):
    hook()
    for _ in range(webhooks.AT_ONCE + 2):
        end()
    claimed = [parcel for _ in range(webhooks.AT_ONCE + 2) for parcel in claim(db)]
    assert len(claimed) == webhooks.AT_ONCE
    settle(db, claimed[0], OK)
    assert len(claim(db)) == 1


def test_nothing_is_sent_for_a_user_who_may_not_sign_in(db, hook, end):
    hook()
    end()
    change(db, User, active=False)
    assert claim(db) == []
    end()
    assert len(messages(db)) == 1  # nothing more is owed


def test_a_message_to_a_webhook_that_was_deleted_goes_nowhere(db, hook, end):
    hook()
    end()
    with db.writing() as session:
        session.delete(session.scalars(select(Webhook)).one())
    assert claim(db) == []


def test_a_message_is_sent_again_on_order(db, hook, end):
    hook()
    end()
    (parcel,) = claim(db)
    with pytest.raises(Conflict), db.writing() as session:
        webhooks.again(session, session.get(OutboxMessage, parcel.id))
    settle(db, parcel, OK)
    with db.writing() as session:
        webhooks.again(session, session.get(OutboxMessage, parcel.id))
    (again,) = claim(db)
    assert (again.id, again.body, again.attempts) == (parcel.id, parcel.body, 1)
    settle(db, parcel, BROKEN)  # written late, by who sent it before
    assert messages(db)[0].error == ""


def test_an_old_worker_owes_nobody(db, hook):
    """Its code knows no webhooks: its messages have none, and none of the columns that came later."""
    hook()
    with db.writing() as session:
        session.add(
            OutboxMessage(id="old", topic="job.failed", user_id="u", payload={}, created_at=1.0)
        )
    assert claim(db) == []


# ---- signatures -----------------------------------------------------------------------------------


def test_the_vector_of_the_specification():
    """Of standard-webhooks/standard-webhooks, libraries/python/tests."""
    parcel = Parcel(
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        fence=1,
        attempts=1,
        webhook_id="w",
        url="https://example.com/",
        body='{"test": 2432232314}',
        secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
    )
    signed = parcel.headers(1614265330)["Webhook-Signature"]
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_both_secrets_sign_while_the_old_one_holds(db, hook, end):
    old = webhooks.new_secret()
    hook_id = hook(old_secret=old, old_secret_until=4e9)
    end()
    (parcel,) = claim(db)
    now = datetime.now(UTC).timestamp()
    for secret in (row(db, hook_id).secret, old):
        said = Signer(secret).verify(parcel.body, parcel.headers(now))
        assert said["type"] == "job.cancelled"
    settle(db, parcel, BROKEN)
    change(db, Webhook, old_secret_until=5.0)
    change(db, OutboxMessage, due_at=1.0)
    (parcel,) = claim(db)
    assert parcel.secrets == (row(db, hook_id).secret,)


def test_a_secret_is_as_long_as_the_specification_wants():
    secret = webhooks.new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
    assert secret != webhooks.new_secret()
