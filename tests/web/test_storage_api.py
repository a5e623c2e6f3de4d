"""GET /storage and POST /storage/sweep: true numbers, for administrators only."""

from __future__ import annotations

import os

import pytest

from worker.tasks import HANDLERS


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return request.getfixturevalue(name)


@pytest.fixture
def admin(person):
    return person("root", admin=True)


def run_tasks(studio):
    """As the cpu worker does."""
    from shared import short_tasks

    while True:
        with studio.db.writing() as session:
            task = short_tasks.claim_due(session, 60)
        if task is None:
            return
        HANDLERS[task.name](studio.settings, studio.db, studio.storage, task.arguments)
        with studio.db.writing() as session:
            short_tasks.finish(session, task, task.fence)


def test_an_ordered_sweep_tells_what_it_freed(admin, work, alice, studio):
    artifact = work.artifact(alice, b"0123456789")
    studio.storage.put_bytes("artifacts/gone/1/0.txt", b"abc")
    os.utime(studio.storage.path_of("artifacts/gone/1/0.txt"), (1.0, 1.0))
    before = admin.get("/storage").json
    assert before["used"]["artifacts"]["bytes"] >= 10
    assert before["used"]["models"] == {"count": 1, "bytes": 7}
    assert before["measured_at"] is None and before["sweeps"] == []
    assert 0 < before["disk"]["free_bytes"] <= before["disk"]["bytes"]
    ordered = admin.post("/storage/sweep")
    assert ordered.status_code == 202
    run_tasks(studio)
    (sweep,) = admin.get("/storage").json["sweeps"]
    assert sweep["id"] == ordered.json["id"]
    assert (sweep["files"], sweep["bytes"]) == (1, 3)
    assert sweep["removed"]["artifacts"] == {"rows": 0, "files": 1, "bytes": 3}
    assert admin.get("/storage").json["measured_at"]
    assert alice.get(f"/artifacts/{artifact}/content").data == b"0123456789"


def test_others_see_nothing_of_it(alice, client):
    assert alice.get("/storage").status_code == 403
    assert alice.post("/storage/sweep").status_code == 403
    assert client.get("/api/v1/storage").status_code == 401
