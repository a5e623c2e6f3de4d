"""The pages of results with 5,000 of them of 1,250 jobs, on both databases; the peer is the page about the account."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert, text

from shared.config import Settings
from shared.db import Database, clock
from shared.ids import new_id
from shared.models import Artifact, BrowserSession, Job, Mark, Model, User
from tests.bench.submits import p95
from tests.conftest import make_tables
from tests.servers import PostgresServer
from web import create_app
from web.hashing import hash_of

JOBS, EACH, ROUNDS = 1250, 4, 60
SECRET = secrets.token_urlsafe(32)
PAGES = {
    "peer: /account": "/account",
    "home": "/",
    "jobs": "/jobs",
    "a job": "/jobs/{job}",
    "first page": "/results",
    "search, found": "/results?q=rose",
    "search, not found": "/results?q=tulip",
    "starred": "/results?starred=1",
    "tag": "/results?tag=best",
    "family": "/results?family=vae",
    "shared": "/results?whose=shared",
    "viewer": "/artifacts/{artifact}",
}


def fill(db: Database, storage) -> dict[str, str]:
    """The ids of a result in the middle and of its job."""
    with db.writing() as session:
        at = clock(session)
        user = User(id=new_id(), name="ann", role="user", active=True, created_at=at)
        session.add(user)
        session.flush()
        row = BrowserSession(
            id=hash_of(SECRET), user_id=user.id, data={}, created_at=at, seen_at=at,
            expires_at=at + 3600, agent="bench", address="127.0.0.1",
        )  # fmt: skip
        session.add(row)
        model = Model(
            id=new_id(), user_id=user.id, name="digits", family="vae", family_version=1,
            location="models/x", files={}, sha256="0" * 64, bytes=1, generate_schema={}, facts={},
            created_at=at,
        )  # fmt: skip
        session.add(model)
        session.flush()
        jobs = [_job(user.id, model.id, n, at) for n in range(JOBS)]
        session.execute(insert(Job), jobs)
        made = [
            _artifact(user.id, job["id"], index, n, at)
            for n, job in enumerate(jobs)
            for index in range(EACH)
        ]
        session.execute(insert(Artifact), made)
        for row in made:
            if row["media_type"] == "text/plain":
                storage.put_stream(row["location"], [b"words " * 200], durable=False)
        marks = [
            {"user_id": user.id, "artifact_id": one["id"], "name": name, "created_at": at}
            for every, name in ((10, ""), (25, "best"))
            for one in made[::every]
        ]
        session.execute(insert(Mark), marks)
        session.execute(text("ANALYZE"))
    middle = made[len(made) // 2]
    return {"artifact": middle["id"], "job": middle["job_id"]}


def _job(user_id: str, model_id: str, n: int, at: float) -> dict:
    return {
        "id": new_id(), "user_id": user_id, "kind": "generate", "family": "vae" if n % 2 else "lstm",
        "family_version": 1, "params": {"prompt": f"a {'rose' if n % 7 == 0 else 'daisy'} {n}"},
        "seed": n, "lane": "interactive", "rank": at, "state": "succeeded", "created_at": at,
        "started_at": at, "finished_at": at, "model_id": model_id,
    }  # fmt: skip


def _artifact(user_id: str, job_id: str, index: int, n: int, at: float) -> dict:
    suffix, media_type = ("png", "image/png") if n % 2 else ("txt", "text/plain")
    return {
        "id": new_id(), "job_id": job_id, "user_id": user_id, "index": index, "role": "output",
        "name": f"{index}.{suffix}", "media_type": media_type, "bytes": 1200, "sha256": "0" * 64,
        "location": f"artifacts/{job_id}/1/{index}.{suffix}", "seed": index, "created_at": at,
        "visibility": "shared" if n % 20 == 0 else "private",
    }  # fmt: skip


def measure(name: str, url: str, folder: Path) -> None:
    settings = Settings.model_validate(
        {"data": folder, "database_url": url, "redis_url": f"unix://{folder}/none.sock"}
    )
    app = create_app(settings, background=False)
    studio = app.extensions["atelier"]
    ids = fill(studio.db, studio.storage)
    client = app.test_client()
    client.set_cookie("atelier", SECRET)
    for what, path in PAGES.items():
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = client.get(path.format(**ids), headers={"Accept": "text/html"})
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text[:500]
        print(f"{name:11} {what:18} p95 {p95(times)}, {len(answer.data) / 1000:.0f} kB")
    studio.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/atelier.db"
        make_tables(url)
        measure("SQLite", url, Path(folder))
    server = PostgresServer()
    try:
        server.start()
        server.execute("CREATE DATABASE gallery")
        make_tables(server.url("gallery"))
        with tempfile.TemporaryDirectory() as folder:
            measure("PostgreSQL", server.url("gallery"), Path(folder))
    finally:
        server.remove()
