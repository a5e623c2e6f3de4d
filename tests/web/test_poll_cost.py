"""What a poll asks of the database, counted: hundreds of people poll every other second. And that nothing is kept that
would let in who was shut out meanwhile.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import event, update

from shared.models import ApiToken, User


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return request.getfixturevalue(name)


@pytest.fixture
def poll(alice, work):
    """Polls a running job with the tag that it has."""
    job = work.training(alice)
    work.claim()
    path = f"/jobs/{job['id']}"
    tag = alice.get(path).headers["ETag"]
    return lambda: alice.get(path, headers={"If-None-Match": tag})


@contextmanager
def statements(studio):
    """What goes to the database meanwhile, transactions included."""
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    event.listen(studio.db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(studio.db.engine, "before_cursor_execute", note)


def test_an_unchanged_job_costs_two_reads_and_no_transaction(studio, poll):
    with statements(studio) as seen:
        assert poll().status_code == 304
    assert [statement.split()[0] for statement in seen] == ["SELECT", "SELECT"], seen


@pytest.mark.parametrize(
    "shut_out",
    [update(ApiToken).values(revoked_at=1.0), update(User).values(active=False)],
    ids=["revoked", "deactivated"],
)
def test_who_is_shut_out_gets_no_further_answer(studio, poll, shut_out):
    assert poll().status_code == 304
    with studio.db.writing() as session:
        session.execute(shut_out)
    assert poll().status_code == 401


def test_a_job_that_was_deleted_is_no_longer_unchanged(alice, studio, work):
    job = work.training(alice)
    path = f"/jobs/{job['id']}"
    tag = alice.get(path).headers["ETag"]
    assert alice.delete(path).status_code == 204
    assert alice.get(path, headers={"If-None-Match": tag}).status_code == 404


def test_a_submit_writes_in_one_short_transaction(alice, studio, work):
    """Whoever writes keeps all others from it: what is looked up beforehand is not looked up there again."""
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    assert alice.post("/jobs", json=body).status_code == 202  # her token is marked as used, once
    with statements(studio) as seen:
        assert alice.post("/jobs", json=body).status_code == 202
    written = [n for n, statement in enumerate(seen) if statement.startswith("INSERT INTO job ")]
    assert len(written) == 1
    assert not any("sum(" in statement for statement in seen[written[0] :]), seen
    if studio.db.is_sqlite:
        begun = seen.index("PRAGMA query_only=OFF")  # BEGIN IMMEDIATE comes next, unheard
        assert len(seen) - begun <= 10, seen[begun:]
    assert len(seen) <= 26, seen
