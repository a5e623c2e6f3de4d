"""Models and artifacts: cards, bytes, ranges, lineage, deletion, the queue and who I am."""

from __future__ import annotations

import hashlib

from shared.models import Artifact, Job


def test_a_model_card_says_where_it_comes_from(alice, work):
    model_id = work.model(alice)
    card = alice.get(f"/models/{model_id}").json
    assert card["family"] == "toy"
    assert card["generate_schema"]["properties"]["count"]["maximum"] == 8
    assert card["lineage"]["job"]["id"] == card["job_id"]
    assert card["lineage"]["dataset"]["sha256"] == "d" * 64
    assert card["params"]["steps"] == 100
    assert card["bytes"] == 7
    assert card["sha256"] == "3" * 64


def test_a_model_is_renamed_and_shared(alice, work):
    model_id = work.model(alice)
    changed = alice.patch(f"/models/{model_id}", json={"name": "Zahlen", "visibility": "shared"})
    assert (changed.json["name"], changed.json["visibility"]) == ("Zahlen", "shared")
    assert alice.patch(f"/models/{model_id}", json={"visibility": "public"}).status_code == 422
    assert alice.patch(f"/models/{model_id}", json={"name": ""}).status_code == 422


def test_models_are_listed_in_pages(alice, work):
    ids = [work.model(alice) for _ in range(3)]
    page = alice.get("/models?limit=2").json
    rest = alice.get(f"/models?limit=2&after={page['next']}").json
    assert [row["id"] for row in page["items"] + rest["items"]] == ids[::-1]


def test_a_model_in_use_is_kept_unless_forced(alice, bob, work, studio):
    model_id = work.model(alice)
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    mine = work.generation(alice, model_id=model_id)
    work.generation(bob, model_id=model_id)
    answer = alice.delete(f"/models/{model_id}")
    assert (answer.status_code, answer.json["code"]) == (409, "in_use")
    assert {"type": "job", "id": mine["id"]} in answer.json["dependents"]
    assert {"type": "job", "count": 1, "whose": "others"} in answer.json["dependents"]
    assert alice.delete(f"/models/{model_id}?force=1").status_code == 204
    assert alice.get(f"/models/{model_id}").status_code == 404
    # the accepted jobs still find the bytes
    assert len(list(studio.storage.keys(f"models/{model_id}"))) == 1


def test_a_free_model_goes_with_its_bytes(alice, work, studio):
    model_id = work.model(alice)
    assert alice.delete(f"/models/{model_id}").status_code == 204
    assert list(studio.storage.keys(f"models/{model_id}")) == []


def test_the_bytes_of_an_artifact_come_as_they_are(alice, work):
    data = bytes(range(256)) * 10
    artifact_id = work.artifact(alice, data)
    facts = alice.get(f"/artifacts/{artifact_id}").json
    answer = alice.get(f"/artifacts/{artifact_id}/content")
    assert answer.data == data
    assert hashlib.sha256(data).hexdigest() == facts["sha256"]
    assert answer.headers["ETag"] == f'"{facts["sha256"]}"'
    assert answer.mimetype == facts["media_type"]
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=0.txt")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    part = alice.get(f"/artifacts/{artifact_id}/content", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, data[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    beyond = alice.get(f"/artifacts/{artifact_id}/content", headers={"Range": "bytes=99999-"})
    assert beyond.status_code == 416
    tag = {"If-None-Match": answer.headers["ETag"]}
    assert alice.get(f"/artifacts/{artifact_id}/content", headers=tag).status_code == 304


def test_only_harmless_types_are_shown_in_place(alice, work, studio):
    artifact_id = work.artifact(alice)
    path = f"/artifacts/{artifact_id}/content?inline=1"
    assert alice.get(path).headers["Content-Disposition"].startswith("inline")
    for media_type in ("text/html", "image/svg+xml", "application/pdf"):
        with studio.db.writing() as session:
            session.get_one(Artifact, artifact_id).media_type = media_type
        assert alice.get(path).headers["Content-Disposition"].startswith("attachment")


def test_names_in_any_language_are_given_back(alice, work, studio):
    artifact_id = work.artifact(alice)
    with studio.db.writing() as session:
        session.get_one(Artifact, artifact_id).name = '我的"图\r\n片.txt'
    header = alice.get(f"/artifacts/{artifact_id}/content").headers["Content-Disposition"]
    assert "filename*=UTF-8''%E6%88%91" in header
    assert "\n" not in header


def test_a_missing_file_is_not_found(alice, work, studio):
    artifact_id = work.artifact(alice)
    with studio.db.reading() as session:
        location = session.get_one(Artifact, artifact_id).location
    studio.storage.delete(location)
    assert alice.get(f"/artifacts/{artifact_id}/content").status_code == 404


def test_lineage_goes_back_to_the_data(alice, work):
    artifact_id = work.artifact(alice)
    lineage = alice.get(f"/artifacts/{artifact_id}/lineage").json
    assert set(lineage) == {"artifact", "job", "model", "training_job", "dataset"}
    assert all(part["id"] and len(part["sha256"]) == 64 for part in lineage.values())


def test_lineage_of_a_shared_model_names_no_strangers_ids(alice, bob, work):
    model_id = work.model(alice)
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    job_id = work.generation(bob, model_id=model_id)["id"]
    work.succeed(next(row for row in work.claim() if row.id == job_id))
    artifact_id = bob.get(f"/jobs/{job_id}").json["result"]["artifacts"][0]["id"]
    lineage = bob.get(f"/artifacts/{artifact_id}/lineage").json
    assert lineage["model"]["id"] == model_id
    assert lineage["training_job"]["id"] is None
    assert lineage["dataset"]["id"] is None
    assert lineage["dataset"]["sha256"] == "d" * 64


def test_a_deleted_artifact_leaves_the_result_and_changes_its_etag(alice, work, studio):
    artifact_id = work.artifact(alice)
    job_id = alice.get(f"/artifacts/{artifact_id}").json["job_id"]
    tag = alice.get(f"/jobs/{job_id}").headers["ETag"]
    assert alice.delete(f"/artifacts/{artifact_id}").status_code == 204
    answer = alice.get(f"/jobs/{job_id}", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.json["result"]["artifacts"] == []
    assert list(studio.storage.keys(f"artifacts/{job_id}")) == []


def test_an_artifact_that_a_job_reads_is_kept_unless_forced(alice, work, studio):
    artifact_id = work.artifact(alice)
    model_id = work.model(alice)
    with studio.db.writing() as session:
        session.get_one(Artifact, artifact_id).media_type = "image/png"
    reader = work.generation(alice, model_id=model_id, params={"source": artifact_id})
    answer = alice.delete(f"/artifacts/{artifact_id}")
    assert answer.status_code == 409
    assert answer.json["dependents"] == [{"type": "job", "id": reader["id"]}]
    assert alice.delete(f"/artifacts/{artifact_id}?force=1").status_code == 204
    with studio.db.reading() as session:
        place = session.get_one(Job, reader["id"]).inputs["source"]["location"]
    assert studio.storage.path_of(place).exists()


def test_families_are_shown_with_schema_and_example(alice, toy):
    (family,) = alice.get("/families").json["items"]
    assert family["name"] == "toy"
    assert family["online"] is False
    train = family["actions"]["train"]
    assert train["schema"]["properties"]["steps"]["default"] == 100
    assert train["example"] == {"steps": 10}
    assert "rules" not in train
    assert alice.get("/families/toy").json == family
    assert alice.get("/families/none").status_code == 404


def test_me_says_what_i_may_hold_and_hold(alice, work):
    work.training(alice)
    me = alice.get("/me").json
    assert me["name"] == "alice"
    assert me["roles"] == ["user"]
    assert me["quota"]["max_queued_jobs"] == 10_000
    assert me["use"]["queued_jobs"] == 1


def test_the_queue_counts_others_without_naming_them(alice, bob, work):
    mine, theirs = work.training(alice), work.training(bob)
    queue = alice.get("/queue")
    assert queue.json["lanes"]["train"] == {"queued": 2, "running": 0, "mine": 1, "others": 1}
    assert [job["id"] for job in queue.json["jobs"]] == [mine["id"]]
    assert queue.json["jobs"][0]["position"] in (1, 2)
    assert theirs["id"] not in queue.text
