"""Faults 41, 45, 47: what people are answered while the database is dead, locked or full: never 500, no 202 is lost."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from sqlalchemy import event, text

from shared.db import Database
from tests import oracle
from tests.conftest import make_tables
from tests.faults.person import Person, over_http
from tests.servers import PostgresServer, wait_until
from tests.web.live import WebProcess
from tests.work import Work
from web import create_app

LOCKED_SECONDS = 60
PAGES = ("/healthz", "/api/v1/me", "/api/v1/jobs", "/api/v1/queue")


@pytest.fixture
def served(settings, db):
    web = WebProcess(settings)
    person = Person(Work(settings, db), over_http(web))
    yield person
    web.kill()
    oracle.check(person.work)


@pytest.mark.slow
def test_a_killed_postgres_loses_nothing_that_was_accepted(make_settings):
    server = PostgresServer()
    try:
        server.start()
        server.execute("CREATE DATABASE killed")
        url = server.url("killed")
        make_tables(url)
        db, settings = Database(url), make_settings(database_url=url)
        web = WebProcess(settings)
        person = Person(Work(settings, db), over_http(web))
        for _ in range(3):
            over = threading.Event()

            def crowd(over=over):
                while not over.is_set():
                    person.submit()

            threads = [threading.Thread(target=crowd) for _ in range(4)]
            for thread in threads:
                thread.start()
            seen = person.answers.copy()
            wait_until(lambda n=seen[202]: person.answers[202] > n + 20, 60, "accepted jobs")
            server.kill()
            wait_until(lambda n=seen[503]: person.answers[503] > n + 5, 60, "refusals")
            assert [person.get(path) for path in PAGES] == [200, 503, 503, 503]
            server.start()
            n = person.answers[202]
            wait_until(lambda n=n: person.answers[202] > n, 60, "accepted jobs again")
            over.set()
            for thread in threads:
                thread.join(60)
        person.check()
        web.kill()
        oracle.check(person.work)
        db.dispose()
    finally:
        server.remove()


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_short_lock_is_waited_for(served):
    answered = []

    def held_briefly() -> bool:
        """False when this machine was too slow to hold it briefly."""
        submitting = threading.Thread(target=lambda: answered.append(served.submit()))
        with served.work.db.writing():
            submitting.start()
            began = time.monotonic()
            wait_until(lambda: time.monotonic() - began > 3, what="three seconds")
        lasted = time.monotonic() - began
        submitting.join(60)
        return lasted < 4

    wait_until(held_briefly, 120, "a lock of three seconds")
    assert answered[-1] == 202
    served.check()


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_long_lock_is_answered_with_come_again(served):
    assert served.submit() == 202
    over = threading.Event()

    def crowd():
        while not over.is_set():
            served.submit()

    threads = [threading.Thread(target=crowd) for _ in range(20)]
    with served.work.db.writing():
        until = time.monotonic() + LOCKED_SECONDS
        for thread in threads:
            thread.start()
        read = Counter()
        while time.monotonic() < until:
            read.update(served.get(path) for path in PAGES)
    over.set()
    for thread in threads:
        thread.join(60)
    assert served.answers[503] >= 20
    assert set(read) <= {200, 503}, read
    assert served.submit() == 202
    served.check()


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_full_disk_under_the_database_refuses_and_recovers(settings, db):
    app = create_app(settings, background=False)
    app.testing = False
    engine = app.extensions["atelier"].db.engine
    most_pages = 1 << 30

    @event.listens_for(engine, "checkout")
    def limit(connection, _record, _proxy):
        connection.execute(f"PRAGMA max_page_count={most_pages}").close()

    def ask(method, path, headers, body):
        answer = app.test_client().open(path, method=method, headers=headers, json=body)
        return answer.status_code, answer.json

    person = Person(Work(settings, db), ask)
    assert person.submit() == 202
    with db.reading() as session:
        most_pages = session.scalar(text("PRAGMA page_count")) + 3
    wait_until(lambda: person.submit() != 202, 60, "the disk to be full")
    assert {person.submit() for _ in range(5)} <= {503, 507}
    assert [person.get(path) for path in ("/api/v1/jobs", "/api/v1/me")] == [200, 200]
    most_pages = 1 << 30
    assert [person.submit() for _ in range(5)] == [202] * 5
    with db.reading() as session:
        assert session.scalar(text("PRAGMA integrity_check")) == "ok"
    person.check()
    app.extensions["atelier"].close()
    oracle.check(person.work)
