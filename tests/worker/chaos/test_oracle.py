"""The oracle finds what it is there for: each kind of harm, done here by hand to a good job."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from shared import datasets, jobs, scheduling, short_tasks
from shared.db import Database
from shared.job_records import Lease, NewArtifact, Outcome
from shared.models import Artifact, Dataset, Job, JobEvent, Result, Upload
from tests.work import Work
from worker.chaos import files, oracle


@pytest.fixture(params=["sqlite", "postgresql"])
def work(request, make_settings):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url = request.getfixturevalue(name)
    db = Database(url)
    yield Work(make_settings(database_url=url), db)
    db.dispose()


@pytest.fixture
def job_id(work):
    """A generation of two outputs that has succeeded, with its files."""
    made = work.generate(count=2)
    offer = scheduling.Offer(
        worker_id="w", lanes=("interactive",), families={"sleep_steps": 1}, limit=1, lease_seconds=9
    )
    with work.db.writing() as session:
        (claimed,) = scheduling.claim(session, offer)
    artifacts = []
    for index in range(2):
        place = f"artifacts/{made}/{claimed.fence}/{index}.txt"
        sha256, size = work.storage.put_bytes(place, b"text")
        artifacts.append(
            NewArtifact(
                role="output",
                index=index,
                name=f"{index}.txt",
                location=place,
                sha256=sha256,
                bytes=size,
                media_type="text/plain",
            )
        )
    with work.db.writing() as session:
        jobs.succeed(session, Lease(made, claimed.fence), Outcome(artifacts=artifacts))
    return made


def kinds(work):
    return {problem.kind for problem in oracle.problems(work.settings, work.db, work.storage)}


def test_a_good_job_has_no_problem(work, job_id):
    assert kinds(work) == set()


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lambda job: delete(Result).where(Result.job_id == job), "lost"),
        (lambda job: delete(Artifact).where(Artifact.job_id == job, Artifact.index == 1), "lost"),
        (lambda job: update(Artifact).where(Artifact.index == 1).values(index=0), "doubled"),
        (lambda job: update(Job).where(Job.id == job).values(params={"count": 1}), "doubled"),
        (lambda job: update(Job).where(Job.id == job).values(state="failed"), "illegal"),
        (lambda job: update(Job).where(Job.id == job).values(owner="somebody"), "illegal"),
        (lambda job: delete(JobEvent).where(JobEvent.job_id == job, JobEvent.n == 2), "illegal"),
        (lambda job: update(Dataset).values(sha256="0" * 64), "lost"),
        (lambda job: update(Dataset).values(item_count=1), "lost"),
    ],
    ids=["result", "output", "index", "count", "state", "owner", "event", "dataset", "items"],
)
def test_harm_to_rows_is_found(work, job_id, harm, kind):
    with work.db.writing() as session:
        session.execute(harm(job_id))
    assert kind in kinds(work)


def test_a_file_that_is_gone_or_changed_is_lost(work, job_id):
    with work.db.reading() as session:
        job = session.get(Job, job_id)
    path = next(work.storage.path_of(f"artifacts/{job.id}").rglob("0.txt"))
    path.unlink()
    path.write_bytes(b"else")
    assert kinds(work) == {"lost"}


# ---- events --------------------------------------------------------------------------------------------


def tell(work, job_id: str, *events: dict) -> list[str]:
    """What the oracle says when these were the job's events, the last of them as its row has it."""
    last = events[-1]
    with work.db.writing() as session:
        session.execute(delete(JobEvent).where(JobEvent.job_id == job_id))
        changed = {"state": last["state"], "version": len(events)}
        session.execute(update(Job).where(Job.id == job_id).values(changed))
        for n, data in enumerate(events, 1):
            session.add(JobEvent(job_id=job_id, n=n, type="state", at=0.0, data=data))
    found = oracle.problems(work.settings, work.db, work.storage)
    return [
        p.text for p in found if p.text.startswith("the events") and "results told" not in p.text
    ]


def event(state: str, fence: int, **more) -> dict:
    return {"state": state, "fence": fence, **more}


QUEUED = {"state": "queued"}


def test_a_good_history_is_one(work):
    job_id = work.generate()
    assert not tell(
        *(work, job_id, QUEUED),
        event("queued", 0, paused=True),
        event("queued", 0, paused=False),
        *(event("running", 1), event("running", 1, paused=True), event("queued", 2, why="pause")),
        *(event("queued", 2, paused=False), event("running", 3)),
        event("running", 3, cancel_requested=True),
        event("cancelled", 4),
    )


@pytest.mark.parametrize(
    "events",
    [
        (event("running", 1), event("running", 2)),
        (event("running", 1), event("queued", 1), event("running", 2)),
        (event("running", 1), event("running", 2, cancel_requested=True)),
        (event("running", 1), event("queued", 1, paused=True)),
        (event("running", 1), event("cancelled", 1)),
        (event("running", 1), event("failed", 2), event("running", 3)),
        (event("queued", 0),),
        (event("queued", 0, cancel_requested=True),),
        (event("running", 0),),
        (event("succeeded", 1),),
    ],
    ids=[
        *(
            "claimed twice",
            "same fence in the queue",
            "a wish with a new fence",
            "a pause that moves",
        ),
        *("an end without a fence", "after the end", "queued again", "a wish of nothing"),
        *("claimed without a fence", "never ran"),
    ],
)
def test_a_bad_history_is_found(work, events):
    assert tell(work, work.generate(), QUEUED, *events)


# ---- files ---------------------------------------------------------------------------------------------


def test_what_a_killed_attempt_left_is_told_apart_and_swept(work, job_id):
    work.storage.put_bytes("artifacts/gone/1/0.txt", b"text")
    work.storage.put_bytes("datasets/gone/data.bin", b"text")
    for folder in ("runs/w/out/gone.1", "runs/w/in/gone.1", "uploads/gone"):
        (work.settings.data / folder).mkdir(parents=True)
    (work.settings.data / "uploads" / "resumable").mkdir()
    (work.settings.data / "uploads" / "resumable" / "half").write_bytes(b"half")
    assert files.unnamed(work.settings, work.db, work.storage) == [
        "artifacts/gone/1/0.txt",
        "datasets/gone/data.bin",
        "runs/w/in/gone.1",
        "runs/w/out/gone.1",
        "uploads/gone",
        "uploads/half",
    ]
    assert kinds(work) == set()
    assert files.unnamed(work.settings, work.db, work.storage) == []


@pytest.mark.parametrize("place", ["runs/w/out/stray", "storage/datasets/{}/stray"])
def test_what_the_sweep_does_not_take_is_orphaned(work, job_id, place):
    path = work.settings.data / place.format(work.dataset_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"stray")
    assert kinds(work) == {"orphaned"}


def test_a_sweep_that_takes_nothing_is_seen(work, job_id, monkeypatch):
    work.storage.put_bytes("artifacts/gone/1/0.txt", b"text")
    monkeypatch.setattr(files.sweep, "sweep_files", lambda *_: 0)
    assert kinds(work) == {"orphaned"}


def test_a_sweep_that_takes_too_much_is_seen(work, job_id, monkeypatch):
    monkeypatch.setattr(
        files.sweep, "sweep_files", lambda *_: work.storage.delete(f"artifacts/{job_id}")
    )
    assert kinds(work) == {"lost"}


@pytest.mark.parametrize("file", ["manifest.jsonl", "data.bin"])
def test_a_dataset_whose_bytes_are_gone_is_lost(work, file):
    work.storage.delete(f"datasets/{work.dataset_id}/{file}")
    assert kinds(work) == {"lost"}


def test_an_upload_that_waits_without_its_files_is_lost(work):
    with work.db.writing() as session:
        session.execute(update(Dataset).values(state="checking", source="upload"))
        slot = datasets.check_slot(work.dataset_id)
        short_tasks.add(session, datasets.CHECK_TASK, {"dataset_id": work.dataset_id}, slot)
    assert "lost" in kinds(work)


def test_an_upload_that_holds_less_than_its_row_says_is_lost(work):
    row = {"user_id": work.user_id, "length": 9, "created_at": 0.0, "expires_at": 9e9}
    with work.db.writing() as session:
        session.add(Upload(id="half", offset=4, **row))
    folder = work.settings.data / "uploads" / "resumable"
    folder.mkdir(parents=True)
    (folder / "half").write_bytes(b"hal")
    assert kinds(work) == {"lost"}
    (folder / "half").write_bytes(b"half")
    assert kinds(work) == set()


# ---- Redis ---------------------------------------------------------------------------------------------


def test_messages_that_pile_up_are_found_in_many_keys_and_in_one(work, valkey):
    prefix = work.settings.redis_prefix
    with valkey.client() as client:
        client.rpush(f"{prefix}wake.train", *range(oracle.MOST_REDIS_ENTRIES - 1))
        client.zadd(f"{prefix}unacked_index", {"one": 1.0})
        assert oracle.redis_problems(work.settings, client) == []
        client.rpush(f"{prefix}wake.train", "one more")
        (problem,) = oracle.redis_problems(work.settings, client)
        assert problem.kind == "orphaned" and "wake.train" in problem.text
        client.delete(f"{prefix}wake.train")
        client.mset({f"{prefix}{n}": "" for n in range(oracle.MOST_REDIS_KEYS)})
        (problem,) = oracle.redis_problems(work.settings, client)
        assert problem.kind == "orphaned"
