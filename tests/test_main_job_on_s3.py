"""The main job with its storage in a bucket: upload, training, generation, downloads; also while the server is ill."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile

import httpx
import pytest

from tests.installation import Installation
from tests.work import FAMILIES

TEXT = b"to be or not to be, that is the question\n" * 200


@pytest.fixture(scope="module")
def atelier(s3_server):
    with Installation(
        **s3_server.settings("whole"),
        checkpoint_seconds="0.3",
        family_path=str(FAMILIES),
        families="sleep_steps",
        threads="1",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def client(atelier):
    client = atelier.user()
    atelier.families(client, "sleep_steps")
    return client


def ended(client, job):
    job = client.jobs.wait(job["id"], timeout=120)
    assert job["state"] == "succeeded", (job["error"], client.jobs.log(job["id"]))
    return job


def get(atelier, client, path, **headers):
    token = client._connection.http.headers["Authorization"]
    headers["Authorization"] = token
    return httpx.get(f"{atelier.url}/api/v1{path}", headers=headers, timeout=30)


def test_the_whole_of_it(atelier, client, s3, tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(TEXT)
    data = client.datasets.wait(client.datasets.add([path])["id"])
    assert data["state"] == "ready", data["problems"]
    assert get(atelier, client, f"/datasets/{data['id']}/items/0/content").content == TEXT
    s3.refusals, s3.slow_seconds = 5, 0.05  # busy and slow, as they are
    training = client.jobs.submit(
        "train", {"steps": 60, "step_seconds": 0.02}, family="sleep_steps", dataset_id=data["id"]
    )
    job = ended(client, training)
    s3.wrong_etags = 3
    made = ended(
        client, client.jobs.submit("generate", {"count": 3}, model_id=job["result"]["model_id"])
    )
    artifacts = made["result"]["artifacts"]
    assert len(artifacts) == 3
    for artifact in artifacts:
        whole = get(atelier, client, f"/artifacts/{artifact['id']}/content")
        assert hashlib.sha256(whole.content).hexdigest() == artifact["sha256"]
        part = get(atelier, client, f"/artifacts/{artifact['id']}/content", Range="bytes=2-4")
        assert (part.status_code, part.content) == (206, whole.content[2:5])
        assert part.headers["Content-Security-Policy"].startswith("sandbox")
    archive = get(atelier, client, f"/jobs/{made['id']}/archive")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as zipped:
        assert zipped.testzip() is None and len(zipped.namelist()) == 4
    model = get(atelier, client, f"/models/{job['result']['model_id']}/archive")
    with zipfile.ZipFile(io.BytesIO(model.content)) as zipped:
        assert zipped.testzip() is None
    # nothing but uploads, the cache and the runs lies on this machine
    assert not (atelier.folder / "storage").exists()
    assert list((atelier.folder / "cache").iterdir())
    assert "not-shown" not in atelier.log() + atelier.atelier("config")


def test_results_that_are_deleted_leave_the_bucket(atelier, client, s3):
    job = client.jobs.list()[0]
    artifact = client.jobs.get(job["id"])["result"]["artifacts"][0]
    client.artifacts.delete(artifact["id"])
    assert get(atelier, client, f"/artifacts/{artifact['id']}/content").status_code == 404
    assert any(method in ("DELETE", "POST") for method, _ in s3.requests)


def test_a_storage_that_is_away_is_told_and_waited_for(atelier, client, s3):
    model = client.models.list()[0]
    s3.refusals = 10**6
    job = client.jobs.submit("generate", {"count": 1}, model_id=model["id"])
    made = next(
        j for j in client.jobs.list() if j["state"] == "succeeded" and j["kind"] == "generate"
    )
    artifact = client.jobs.get(made["id"])["result"]["artifacts"][-1]
    answer = get(atelier, client, f"/artifacts/{artifact['id']}/content")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_away")
    assert answer.headers["Retry-After"]
    s3.calm()
    ended(client, job)
    assert get(atelier, client, f"/artifacts/{artifact['id']}/content").status_code == 200


def test_a_wrong_bucket_is_told_before_anything_starts(s3_server):
    wrong = Installation(**s3_server.settings("x") | {"storage": "s3://elsewhere/x"})
    try:
        with pytest.raises(RuntimeError) as told:
            wrong.atelier("db", "upgrade")
        assert "bucket" in str(told.value) and "Traceback" not in str(told.value)
    finally:
        shutil.rmtree(wrong.folder)
