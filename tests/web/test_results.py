"""The gallery's service and API: filters, cursor, stars, tags, sharing and its end, on both databases."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from shared.models import Artifact, Job
from tests.web.test_results_pages import a_model


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def poems(alice, work):
    """Two generations of a model of Alice's: (ids of "a rose is", ids of "the sea"), newest last."""
    model_id = a_model(alice, work)
    found = []
    for prompt, texts in (("a rose is", (b"one", b"two")), ("the sea", (b"three",))):
        params = {"prompt": prompt, "count": len(texts)}
        job_id = work.generation(alice, model_id=model_id, params=params)["id"]
        (job,) = [row for row in work.claim() if row.id == job_id]
        work.succeed(job, texts)
        result = alice.get(f"/jobs/{job_id}").json["result"]
        found.append([one["id"] for one in result["artifacts"]])
    return found


def ids(person, query=""):
    answer = person.get(f"/artifacts{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json["items"]]


def test_results_come_newest_first_a_page_at_a_time(alice, bob, poems):
    everything = sorted([*poems[0], *poems[1]], reverse=True)
    assert ids(alice) == everything
    first = alice.get("/artifacts?limit=2").json
    assert [one["id"] for one in first["items"]] == everything[:2]
    second = alice.get(f"/artifacts?limit=2&after={first['next']}").json
    assert [one["id"] for one in second["items"]] == everything[2:]
    assert second["next"] is None
    assert ids(bob) == []


def test_each_filter_finds_its_own_and_nothing_else(alice, poems, studio):
    roses, sea = poems
    with studio.db.writing() as session:
        row = session.get_one(Artifact, roses[0])
        row.media_type = "image/png"
        job = session.get_one(Job, row.job_id)
        model_id = job.model_id
    assert ids(alice, "?q=ROSE") == sorted(roses, reverse=True)
    assert ids(alice, "?q=%25") == []
    assert ids(alice, "?media=image") == [roses[0]]
    assert set(ids(alice, "?media=text")) == {roses[1], *sea}
    assert set(ids(alice, f"?model_id={model_id}&family=toy")) == {*roses, *sea}
    assert ids(alice, "?family=other") == ids(alice, "?model_id=other") == []
    assert alice.get("/artifacts?media=sound").status_code == 422
    assert alice.get("/artifacts?kind=image").status_code == 422


def test_a_result_says_how_it_was_made(alice, poems):
    found = alice.get(f"/artifacts/{poems[1][0]}").json
    assert found["params"]["prompt"] == "the sea"
    assert (found["family"], found["mine"], found["visibility"]) == ("toy", True, "private")
    assert (found["starred"], found["tags"]) == (False, [])
    assert found["job_seed"] == alice.get(f"/jobs/{found['job_id']}").json["seed"]


def test_stars_and_tags_are_set_searched_and_taken_away(alice, poems):
    path = f"/artifacts/{poems[0][0]}"
    changed = alice.patch(path, json={"starred": True, "tags": ["b", "a a", "a a"]}).json
    assert (changed["starred"], changed["tags"]) == (True, ["a a", "b"])
    # what is not said stays
    changed = alice.patch(path, json={"add_tags": ["蓝"], "remove_tags": ["b"]}).json
    assert (changed["starred"], changed["tags"]) == (True, ["a a", "蓝"])
    assert ids(alice, "?starred=1") == ids(alice, "?tag=%E8%93%9D") == [poems[0][0]]
    assert ids(alice, "?starred=1&tag=b") == []
    assert alice.patch(path, json={"tags": [], "starred": False}).json["tags"] == []
    assert ids(alice, "?starred=1") == []


@pytest.mark.parametrize(
    "body",
    [{"tags": [""]}, {"tags": ["a,b"]}, {"tags": ["x" * 41]}, {"tags": ["a\nb"]}, {"starred": 1},
     {"visibility": "public"}, {"stars": True}],
)  # fmt: skip
def test_what_cannot_be_noted_is_refused(alice, poems, body):
    assert alice.patch(f"/artifacts/{poems[0][0]}", json=body).status_code == 422


def test_a_shared_result_is_seen_noted_and_used_by_others_until_it_is_private_again(
    alice, bob, poems, studio, work
):
    shown, hidden = poems[0]
    path = f"/artifacts/{shown}"
    assert bob.get(path).status_code == bob.patch(path, json={"starred": True}).status_code == 404
    assert alice.patch(path, json={"visibility": "shared"}).json["visibility"] == "shared"
    assert ids(bob, "?whose=shared") == ids(alice, "?whose=shared") == [shown]
    assert ids(bob) == []
    seen = bob.get(path).json
    assert (seen["mine"], seen["job_id"], seen["model_id"]) == (False, None, None)
    assert seen["params"]["prompt"] == "a rose is"
    content = bob.get(f"{path}/content")
    assert content.data == b"one"
    tag = {"If-None-Match": content.headers["ETag"]}
    # each notes for himself
    assert bob.patch(path, json={"starred": True, "tags": ["from alice"]}).json["starred"]
    assert not alice.get(path).json["starred"]
    assert ids(bob, "?whose=shared&starred=1") == [shown]
    for body in ({"visibility": "private"}, {"visibility": "shared"}):
        assert bob.patch(path, json=body).status_code == 404
    assert bob.delete(path).status_code == 404
    assert bob.get(f"/artifacts/{hidden}").status_code == 404
    lineage = bob.get(f"{path}/lineage").json
    assert [lineage[name]["id"] for name in ("job", "model", "training_job", "dataset")] == [
        None
    ] * 4

    assert alice.patch(path, json={"visibility": "private"}).status_code == 200
    for gone in (path, f"{path}/content", f"{path}/lineage"):
        assert bob.get(gone, headers=tag).status_code == 404
    assert ids(bob, "?whose=shared") == []
    if studio.db.is_sqlite:
        actions = [one.action for one in audit_of(studio, shown)]
        assert actions == ["shared", "unshared"]


def test_filters_do_not_tell_whose_job_or_private_model_a_shared_result_is_of(
    alice, bob, poems, studio
):
    shown = poems[0][0]
    alice.patch(f"/artifacts/{shown}", json={"visibility": "shared"})
    with studio.db.writing() as session:
        job = session.get_one(Job, session.get_one(Artifact, shown).job_id)
        job.name = "secret plan"
        job_id, model_id = job.id, job.model_id
    for query in ("q=secret", f"job_id={job_id}", f"model_id={model_id}"):
        assert ids(bob, f"?whose=shared&{query}") == [], query
    assert ids(alice, "?q=secret") == sorted(poems[0], reverse=True)
    assert ids(alice, "?whose=shared&q=secret") == []
    assert ids(bob, "?whose=shared&q=rose") == [shown]
    for query in (f"job_id={job_id}", f"model_id={model_id}"):
        assert ids(alice, f"?whose=shared&{query}") == [shown]
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    assert ids(bob, f"?whose=shared&model_id={model_id}") == [shown]


def audit_of(studio, artifact_id):
    from sqlalchemy import select

    from shared.models import AuditEntry

    with studio.db.reading() as session:
        query = select(AuditEntry).where(AuditEntry.subject_id == artifact_id)
        return session.scalars(query.order_by(AuditEntry.id)).all()


def test_an_archive_of_a_shared_result_tells_no_job_of_its_owner(alice, bob, poems):
    shown, hidden = poems[0]
    job_id = alice.get(f"/artifacts/{shown}").json["job_id"]
    alice.patch(f"/artifacts/{shown}", json={"visibility": "shared"})
    assert bob.post("/artifacts/archive", json={"ids": [shown, hidden]}).status_code == 404
    answer = bob.post("/artifacts/archive", json={"ids": [shown]})
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        assert found.read("shared/0.txt") == b"one"
        manifest = found.read("manifest.json").decode()
    assert job_id not in manifest
    assert json.loads(manifest)["jobs"][0]["job"]["params"]["prompt"] == "a rose is"


def test_a_shared_picture_that_somebody_uses_is_not_deleted_unasked(
    alice, bob, work, studio, poems
):
    shown = poems[1][0]
    with studio.db.writing() as session:
        session.get_one(Artifact, shown).media_type = "image/png"
    model_id = work.model(bob)
    body = {"kind": "generate", "model_id": model_id, "params": {"source": shown}}
    assert bob.post("/jobs", json=body).status_code == 422
    alice.patch(f"/artifacts/{shown}", json={"visibility": "shared"})
    job = bob.post("/jobs", json=body)
    assert job.status_code == 202, job.text
    others = {"type": "job", "count": 1, "whose": "others"}
    refused = alice.delete(f"/artifacts/{shown}")
    assert (refused.status_code, refused.json["dependents"]) == (409, [others])
    made_by = alice.get(f"/artifacts/{shown}").json["job_id"]
    assert alice.delete(f"/jobs/{made_by}").json["dependents"] == [others]
    assert job.json["id"] not in refused.text
    # private again: what was accepted keeps it, a new one is refused
    alice.patch(f"/artifacts/{shown}", json={"visibility": "private"})
    assert bob.post("/jobs", json=body).status_code == 422
    assert alice.delete(f"/artifacts/{shown}?force=1").status_code == 204
    assert ids(alice, "?q=sea") == []
