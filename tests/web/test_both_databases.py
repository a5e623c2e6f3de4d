"""What depends on how a database locks: idempotency keys, quotas, cancel against claim. On SQLite and PostgreSQL."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

import pytest
from sqlalchemy import select

from shared import jobs
from shared.errors import AppError, NotFound
from shared.models import Job, JobEvent, Quota, User
from web.reaper import reap
from web.requests import JobRequest
from web.requests_people import InvitationRequest, UserChange
from web.services import accounts, invitations, people, submit
from web.services.studio import open_studio


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return request.getfixturevalue(name)


def together(count, call):
    """The answers of `count` calls begun at the same moment."""
    barrier = Barrier(count)

    def run(n):
        barrier.wait()
        return call(n)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_a_key_is_accepted_once_however_many_ask(alice, work, app, studio):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    headers = {"Idempotency-Key": "one-of-fifty"}
    answers = together(50, lambda n: alice.post("/jobs", headers=headers, json=body))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.data for answer in answers}) == 1
    replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]
    assert sorted(replayed, key=str) == [None, *["true"] * 49]
    with studio.db.reading() as session:
        assert session.query(Job).count() == 1
    # later, too, byte for byte, whatever the job does meanwhile
    work.claim()
    again = alice.post("/jobs", headers=headers, json=json.loads(json.dumps(body)))
    assert again.data == answers[0].data
    other = alice.post("/jobs", headers=headers, json={**body, "seed": 1})
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("quota", ["max_queued_jobs", "max_device_seconds_a_day"])
def test_one_free_place_is_taken_once(alice, work, studio, quota):
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    needed = alice.post("/jobs?dry_run=1", json=body).json["estimate_seconds"]
    room = {"max_queued_jobs": 1, "max_device_seconds_a_day": 1.5 * needed}
    with studio.db.writing() as session:
        setattr(session.get_one(Quota, alice.user.id), quota, room[quota])
    statuses = [r.status_code for r in together(100, lambda n: alice.post("/jobs", json=body))]
    assert sorted(statuses) == [202, *[409] * 99]


def test_cancel_and_claim_agree_on_one_outcome(alice, work, studio):
    dataset_id = work.dataset(alice)
    for _ in range(10):
        job = work.training(alice, dataset_id=dataset_id)

        def cancel_or_claim(n, job=job):
            if n:
                return work.claim()
            return alice.post(f"/jobs/{job['id']}/cancel")

        cancelled, claimed = together(2, cancel_or_claim)
        assert cancelled.status_code == 200
        with studio.db.reading() as session:
            row = session.get_one(Job, job["id"])
            if claimed:
                assert row.state == "running"
                assert row.cancel_requested_at
            else:
                assert row.state == "cancelled"
            numbers = [
                n
                for (n,) in session.query(JobEvent.n)
                .filter(JobEvent.job_id == row.id)
                .order_by(JobEvent.n)
            ]
            assert numbers == list(range(1, row.version + 1))


def test_what_a_job_is_being_accepted_for_is_not_deleted_meanwhile(alice, work, studio):
    """A deletion that comes between the look and the commit of a submit must see the job."""
    dataset_id, model_id = work.dataset(alice), work.model(alice)
    bodies = {
        "datasets": {"kind": "train", "family": "toy", "dataset_id": dataset_id},
        "models": {"kind": "generate", "model_id": model_id},
    }
    for kind, thing in (("datasets", dataset_id), ("models", model_id)):
        with studio.db.reading() as session:
            asked = JobRequest(**bodies[kind])
            new = submit.plan(session, studio, alice.user, asked).new_job
        with ThreadPoolExecutor(1) as pool:
            with studio.db.writing() as session:
                submit.still_there(session, alice.user, new)
                deleted = pool.submit(alice.delete, f"/{kind}/{thing}")
                wait([deleted], timeout=1)
                job_id = jobs.accept(session, new).id
            answer = deleted.result()
        assert (answer.status_code, answer.json["code"]) == (409, "in_use"), kind
        assert {"type": "job", "id": job_id} in answer.json["dependents"]


def test_lists_filters_and_deletion_work(alice, work):
    artifact_id = work.artifact(alice)
    job_id = alice.get(f"/artifacts/{artifact_id}").json["job_id"]
    assert len(
        alice.get("/jobs?q=&state=succeeded&created_after=2020-01-01T00:00:00Z").json["items"]
    )
    assert alice.get(f"/jobs/{job_id}/metrics").json == {"series": {}}
    assert alice.get(f"/artifacts/{artifact_id}/lineage").status_code == 200
    assert alice.get("/queue").status_code == 200
    assert alice.delete(f"/artifacts/{artifact_id}").status_code == 204
    assert alice.delete(f"/jobs/{job_id}").status_code == 204


def test_metrics_are_thinned_in_the_database(alice, work):
    job = work.training(alice)
    (row,) = work.claim()
    for step in range(1, 60):
        work.report(row, points=[[step, step / 10, {"loss": 1 / step}]])
    series = alice.get(f"/jobs/{job['id']}/metrics?max_points=5").json["series"]["loss"]
    assert len(series) <= 5
    assert series[-1][0] == 59


# ---- people ----------------------------------------------------------------------------------------

PASSWORD = "correct horse battery"


def outcome(call):
    """What became of a call of a service: its result, or the code of its error."""
    try:
        return call()
    except AppError as error:
        return error.code


def test_a_one_time_link_used_twice_at_once_works_once(studio, alice, monkeypatch):
    monkeypatch.setattr(accounts, "_hash_password", lambda password: password)
    token = accounts.password_link(studio, "alice").rsplit("/", 1)[1]

    def use(n):
        return outcome(lambda: accounts.set_password_by_link(studio, token, f"{PASSWORD} {n}"))

    found = together(8, use)
    winners = [one for one in found if one != "not_found"]
    assert len(winners) == 1
    with studio.db.reading() as session:
        assert session.get_one(User, alice.user.id).password_hash == winners[0].password_hash


def test_an_invitation_used_by_many_at_once_lets_in_as_many_as_it_says(
    make_settings, database_url, monkeypatch
):
    monkeypatch.setattr(accounts, "_hash_password", lambda password: password)
    studio = open_studio(make_settings(database_url=database_url, sign_up="invite"))
    _, path = invitations.invite(studio, None, InvitationRequest(uses=2))
    token = path.rsplit("/", 1)[1]

    def join(n):
        return outcome(
            lambda: invitations.join(studio, token, f"guest{n}", PASSWORD, f"10.0.0.{n}").name
        )

    found = together(8, join)
    assert found.count("not_found") == 6
    with studio.db.reading() as session:
        names = set(session.scalars(select(User.name)))
    assert names == set(found) - {"not_found"}
    studio.close()


def test_a_name_asked_for_by_many_at_once_is_given_once(studio):
    made = together(8, lambda n: outcome(lambda: accounts.create_user(studio.db, "eve").name))
    assert sorted(made) == [*["conflict"] * 7, "eve"]


def test_two_administrators_do_not_take_the_right_from_each_other(studio, person):
    first, second = person("first", admin=True), person("second", admin=True)
    pairs = [(first, second), (second, first)]

    def demote(n):
        admin, other = pairs[n]
        change = UserChange(role="user")
        return outcome(
            lambda: people.change_user(studio, admin.user, other.user.id, change)["role"]
        )

    assert sorted(together(2, demote)) == ["conflict", "user"]
    assert accounts.has_admin(studio.db)


def test_a_user_is_deactivated_while_he_submits_and_his_jobs_run(studio, alice, work, person):
    """No deadlock between who changes an account and who submits, claims and reports its jobs."""
    root = person("root", admin=True)
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    change = UserChange(active=False, quota={"max_queued_jobs": 50}, weight=2.0)

    def act(n):
        if n == 0:
            return outcome(lambda: people.change_user(studio, root.user, alice.user.id, change))
        if n < 4:
            return len(work.claim(f"w{n}"))
        return alice.post("/jobs", json=body).status_code

    found = together(12, act)
    assert found[0]["active"] is False
    assert {status for status in found[4:]} <= {202, 401}
    reap(studio)
    with studio.db.reading() as session:
        left = select(Job.id).where(Job.state == "running", Job.cancel_requested_at.is_(None))
        assert session.scalars(left).all() == []
    assert work.claim() == []


def test_what_a_job_is_being_accepted_for_is_not_unshared_meanwhile(alice, bob, work, studio):
    """Un-sharing waits for the submit that has looked, and the next one finds it private."""
    model_id = work.model(alice)
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    body = {"kind": "generate", "model_id": model_id}
    with studio.db.reading() as session:
        new = submit.plan(session, studio, bob.user, JobRequest(**body)).new_job
    with ThreadPoolExecutor(1) as pool:
        with studio.db.writing() as session:
            submit.still_there(session, bob.user, new)
            unshared = pool.submit(
                alice.patch, f"/models/{model_id}", json={"visibility": "private"}
            )
            assert wait([unshared], timeout=0.3).not_done
            job_id = jobs.accept(session, new).id
        assert unshared.result().status_code == 200
    assert bob.get(f"/jobs/{job_id}").json["state"] == "queued"
    assert bob.post("/jobs", json=body).status_code == 404
    with studio.db.writing() as session, pytest.raises(NotFound):
        submit.still_there(session, bob.user, new)
