"""The administrators' pages beside people, and what one sees of one's own share and models: both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from shared import tallies
from shared.db import clock
from shared.models import Artifact, AuditEntry, Job, Worker
from tests.web.browsing import Browser
from tests.web.test_queue import FACTS, add_worker
from web.services import audit, fair_share, model_samples, models, workers

WORKER = f"device-0.{'h' * 30}"  # the longest host name that a worker's id takes


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return request.getfixturevalue(name)


@pytest.fixture
def root(person):
    return person("root", admin=True)


@pytest.fixture
def rooted(app, root):
    return Browser(app, root.user)


def happened(studio, action):
    with studio.db.reading() as session:
        rows = session.scalars(select(AuditEntry).where(AuditEntry.action == action)).all()
        return [(row.actor_name, row.subject_type, row.subject_id) for row in rows]


def test_a_drain_is_asked_of_the_worker_told_once_and_taken_back(rooted, studio):
    add_worker(studio, WORKER, facts=FACTS)
    for _ in range(2):
        answer = rooted.post(f"/admin/workers/{WORKER}/drain")
        assert answer.status_code == 303
    with studio.db.reading() as session:
        assert session.get_one(Worker, WORKER).drain_requested_at
    text = rooted.get("/admin/queue").text
    assert "Let it work again" in text and "A100" in text
    rooted.post(f"/admin/workers/{WORKER}/undrain")
    with studio.db.reading() as session:
        assert session.get_one(Worker, WORKER).drain_requested_at is None
    assert happened(studio, "worker_drained") == [("root", "worker", WORKER)]
    assert happened(studio, "worker_undrained") == [("root", "worker", WORKER)]
    assert rooted.post("/admin/workers/nobody/drain").status_code == 404
    assert rooted.page(f"/admin/audit?subject_id={WORKER}").text.count(WORKER[-12:]) >= 2


def test_a_name_that_is_longer_than_the_audit_keeps_is_cut(root, studio):
    with studio.db.writing() as session:
        artifact = Artifact(id="a", name="n" * 255)
        audit.record(session, "shared", root.user, artifact)
    with studio.db.reading() as session:
        row = session.scalars(select(AuditEntry).where(AuditEntry.action == "shared")).one()
        assert row.subject_name == "n" * 200


def test_everybodys_jobs_are_seen_without_what_they_are_about_and_stopped(
    rooted, alice, bob, work, studio
):
    mine = work.training(alice, name="a secret")["id"]
    work.claim("w")
    theirs = work.training(bob)["id"]
    page = rooted.page("/admin/queue")
    assert "alice" in page.words and "bob" in page.words and "a secret" not in page.text
    assert rooted.post(f"/admin/jobs/{theirs}/cancel").status_code == 303
    assert bob.get(f"/jobs/{theirs}").json["state"] == "cancelled"
    rooted.post(f"/admin/jobs/{mine}/cancel")
    rooted.post(f"/admin/jobs/{mine}/cancel")
    assert alice.get(f"/jobs/{mine}").json["cancel_requested"]
    told = happened(studio, "job_cancelled")
    assert told == [("root", "job", theirs), ("root", "job", mine)]
    assert rooted.post("/admin/jobs/nothing/cancel").status_code == 404


def test_jobs_of_everybody_are_bounded(alice, work, studio, monkeypatch):
    monkeypatch.setattr(workers, "MOST_JOBS", 2)
    for _ in range(3):
        work.training(alice)
    found = workers.active_jobs(studio)
    assert len(found["items"]) == 2 and found["more"]


def test_the_storage_page_tells_the_disk_and_orders_a_sweep(rooted, root, things):
    text = rooted.get("/admin/storage").text
    assert "None has run yet." in text
    assert rooted.post("/admin/storage/sweep").status_code == 303


def test_the_audit_is_filtered_and_paged(rooted, root, alice):
    root.patch(f"/users/{alice.user.id}", json={"weight": 2})
    page = rooted.page(f"/admin/audit?action=user_changed&subject_id={alice.user.id}")
    assert page.text.count("weight 2") == 1
    assert "There is nothing of this kind." in rooted.get("/admin/audit?actor_id=nobody").text
    bad = rooted.get("/admin/audit?action=Robert')")
    assert bad.status_code == 422 and "has the wrong form" in bad.text.lower()


def test_the_share_counts_a_day_of_mine_and_of_all(alice, bob, work, studio):
    for person, seconds in ((alice, 30.0), (bob, 90.0)):
        work.training(person)
        (job,) = work.claim()
        work.succeed(job, model=True)
        with studio.db.writing() as session:
            row = session.get_one(Job, job.id)
            row.device_seconds, row.started_at = seconds, row.finished_at - seconds
    old = work.training(bob)["id"]
    (job,) = work.claim()
    work.succeed(job)
    with studio.db.writing() as session:
        row = session.get_one(Job, old)
        row.device_seconds, row.finished_at = 1000.0, clock(session) - 90_000
    share = fair_share.get_share(studio, alice.user)
    assert (share["used_seconds"], share["all_seconds"]) == (30.0, 120.0)


def test_the_queue_page_shows_how_busy_and_changes_own_jobs_only(mine, alice, bob, work, studio):
    add_worker(studio, "w", facts=FACTS, families={"toy": 1})
    with studio.db.writing() as session:
        tallies.put(session, "device_busy", "w", 0.83)
    own, other = work.training(alice)["id"], work.training(bob)["id"]
    assert "83" in mine.get("/queue").text
    for change, state in (("pause", True), ("resume", False)):
        assert mine.post(f"/queue/{own}/{change}").status_code == 303
        assert alice.get(f"/jobs/{own}").json["paused"] is state
    mine.post(f"/queue/{own}/cancel")
    assert alice.get(f"/jobs/{own}").json["state"] == "cancelled"
    assert mine.post(f"/queue/{other}/cancel").status_code == 404
    assert mine.post(f"/queue/{own}/explode").status_code == 404


def test_a_model_is_shown_with_what_its_reader_may_see(alice, bob, work, studio):
    model_id = work.model(alice)
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    for words in (b"first", b"second"):
        job_id = work.generation(alice, model_id=model_id)["id"]
        (job,) = [row for row in work.claim() if row.id == job_id]
        work.succeed(job, (words, words, words))
    shown = models.list_models(studio, alice.user)["items"]
    samples = model_samples.newest(studio, alice.user, shown, 4)[model_id]
    assert len(samples) == 4 and samples[0]["job_id"] == job_id
    theirs = models.list_models(studio, bob.user)["items"]
    assert [one["id"] for one in theirs] == [model_id]
    assert model_samples.newest(studio, bob.user, theirs, 4) == {}
    assert model_samples.newest(studio, bob.user, [], 4) == {}


def test_without_generations_a_model_shows_what_its_training_drew(alice, work, studio):
    from shared.ids import new_id
    from shared.models import Artifact

    model_id = work.model(alice)
    job_id = alice.get(f"/models/{model_id}").json["job_id"]
    with studio.db.writing() as session:
        for step in (5, 10):
            row = Artifact(id=new_id(), job_id=job_id, user_id=alice.user.id, index=0, seed=1)
            row.role, row.name, row.media_type = "preview", f"{step}.png", "image/png"
            row.bytes, row.sha256, row.location = 1, "1" * 64, f"artifacts/{job_id}/{step}"
            row.metrics, row.label, row.created_at = {"step": step}, {}, clock(session) + step
            session.add(row)
    shown = models.list_models(studio, alice.user)["items"]
    found = model_samples.newest(studio, alice.user, shown, 1)[model_id]
    assert [one["name"] for one in found] == ["10.png"]


def test_a_model_page_tells_how_to_load_it_and_follows_a_try(mine, theirs, alice, bob, work):
    model_id = work.model(alice)
    text = mine.get(f"/models/{model_id}").text
    assert "from worker.families.toy import load" in text
    job_id = work.generation(alice, model_id=model_id)["id"]
    page = mine.page(f"/models/{model_id}?job={job_id}")
    assert page.all("i", id="follow-tried")
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, (b"a line of verse",))
    page = mine.page(f"/models/{model_id}?job={job_id}")
    assert "a line of verse" in page.words and not page.all("i", id="follow-tried")
    other = work.generation(alice)["id"]
    assert "tried" in mine.get(f"/models/{model_id}?job={other}").text
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    assert "a line of verse" not in theirs.get(f"/models/{model_id}?job={job_id}").text


def test_uploads_sent_before_become_a_dataset_by_the_form(mine, alice):
    head = {"Tus-Resumable": "1.0.0"}
    made = alice.post("/uploads", headers={**head, "Upload-Length": "5"}).json["id"]
    upload = f"/uploads/{made}"
    refused = mine.post("/datasets", {"uploads": made, "name": "five"})
    assert refused.status_code == 422 and "not finished: 0 of 5 bytes" in refused.text
    assert "Unfinished uploads" in refused.text
    sent = alice.patch(
        upload,
        data=b"words",
        headers={**head, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
    )
    assert sent.status_code == 204
    answer = mine.post("/datasets", {"uploads": made, "name": "five"})
    assert answer.status_code == 303
    assert alice.get(f"/datasets/{answer.location.rsplit('/', 1)[1]}").json["name"] == "five"
    other = alice.post("/uploads", headers={**head, "Upload-Length": "5"}).json["id"]
    assert mine.post(f"/datasets/uploads/{other}/delete").status_code == 303
    assert alice.get(f"/uploads/{other}").status_code == 404


def test_a_refused_file_comes_with_what_to_do(mine, alice, work):
    problems = {"files": [{"name": "a.png", "message": "is damaged or cut short"}], "usable": 0}
    dataset_id = work.dataset(alice, state="refused", problems=problems)
    assert "pack or export it again" in mine.get(f"/datasets/{dataset_id}").text


def test_all_items_are_paged(mine, alice, things):
    page = mine.page(f"/datasets/{things['dataset']}/items")
    assert page.all("img", alt="a.png")
    after = mine.page(f"/datasets/{things['dataset']}/items?after=0")
    assert not after.all("img", alt="a.png")


def test_the_language_of_an_account_and_other_sessions(app, mine, alice):
    other = Browser(app, alice.user)
    assert "Signed-in browsers" in mine.get("/account").text
    mine.post("/account/language", {"language": "zh_Hans_CN"})
    assert "已登录的浏览器" in other.get("/account").text
    mine.post("/account/language", {"language": "tlh"})
    assert "Signed-in browsers" in mine.get("/account").text
    assert mine.post("/account/sessions/revoke").status_code == 303
    assert other.get("/account").status_code in (302, 303)
    assert mine.get("/account").status_code == 200
