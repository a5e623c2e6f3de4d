"""The feed: one look for all waiters, and nothing left running when nobody waits."""

from __future__ import annotations

import threading
import time

import pytest

from tests.servers import wait_until
from web.feed import Feed


@pytest.fixture
def feed(studio):
    made = Feed(studio.db, most_waiters=50, look_seconds=0.02)
    yield made
    made.close()


def slot(feed):
    return feed.slots.take("alice")


def ended(thread, seconds=10):
    thread.join(seconds)
    return not thread.is_alive()


def test_all_waiters_of_a_job_wake_with_its_change(alice, work, feed):
    job_id = work.training(alice)["id"]
    woken = []
    threads = [
        threading.Thread(target=lambda: woken.append(feed.wait(slot(feed), job_id, 1, 30)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    (row,) = work.claim()
    assert all(ended(thread) for thread in threads)
    assert woken == [True] * 5
    assert row.version == 2


def test_a_change_that_came_first_is_not_missed(alice, work, feed):
    job_id = work.training(alice)["id"]
    work.claim()
    assert feed.wait(slot(feed), job_id, 1, 30)


def test_what_was_read_before_is_no_news(alice, work, feed):
    """The feed's own look may be older than what the waiter has seen."""
    job_id = work.training(alice)["id"]
    assert not feed.wait(slot(feed), job_id, 2, 0.1)


def test_without_news_the_time_runs_out(alice, work, feed):
    job_id = work.training(alice)["id"]
    assert not feed.wait(slot(feed), job_id, 1, 0.1)


def test_the_thread_ends_when_nobody_waits(alice, work, feed):
    feed.wait(slot(feed), work.training(alice)["id"], 1, 0.05)
    until = time.monotonic() + 10
    while feed._thread is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert feed._thread is None
    assert feed._versions == {}


def test_a_database_that_is_away_for_a_moment_ends_nothing(alice, work, feed, monkeypatch, caplog):
    job_id = work.training(alice)["id"]
    look, calls = feed._look, []

    def sometimes(ids):
        calls.append(ids)
        if len(calls) < 3:
            raise OSError("away")
        return look(ids)

    monkeypatch.setattr(feed, "_look", sometimes)
    work.claim()
    assert feed.wait(slot(feed), job_id, 1, 30)
    assert "cannot read" in caplog.text


def test_closing_lets_everybody_go(alice, work, feed):
    job_id = work.training(alice)["id"]
    thread = threading.Thread(target=feed.wait, args=(slot(feed), job_id, 1, 60))
    thread.start()
    feed.close()
    assert ended(thread)


def test_it_asks_for_the_rows_only_after_a_commit(alice, work, feed, monkeypatch):
    looks = []
    look = feed._look
    monkeypatch.setattr(feed, "_look", lambda ids: looks.append(ids) or look(ids))
    job_id = work.training(alice)["id"]
    waiter = threading.Thread(target=feed.wait, args=(slot(feed), job_id, 1, 30))
    waiter.start()
    wait_until(lambda: looks, what="the first look")
    waiter.join(0.3)  # some fifteen rounds of the feed
    assert waiter.is_alive()
    assert len(looks) <= 2  # a second one where the accepted job was noticed late
    work.claim()
    assert ended(waiter)
    assert len(looks) <= 4


def test_who_comes_after_another_left_is_told_what_the_other_knew(alice, work, feed):
    """The rows must be read again for the newcomer although nothing was committed since."""
    job_id = work.training(alice)["id"]
    work.claim()
    stays = threading.Thread(target=feed.wait, args=(slot(feed), work.training(alice)["id"], 1, 30))
    stays.start()
    for _ in range(20):
        assert feed.wait(slot(feed), job_id, 1, 30)
    feed.close()
    assert ended(stays)
