"""The client's objects: dicts with attributes that wait, change, download, and show themselves in a notebook."""

from __future__ import annotations

import io
import json
import threading
import zipfile

import httpx
import pytest
from PIL import Image

from atelier_client import (
    ApiError,
    Artifact,
    BrokenDownload,
    Client,
    Conflict,
    InvalidInput,
    Job,
    JobFailed,
    NotAllowed,
    NotFound,
    NotSignedIn,
    QuotaExceeded,
    Unreachable,
)
from atelier_client.artifacts import Artifacts
from tests.servers import wait_until
from tests.web.live import LiveServer
from tests.web.test_client import answering


@pytest.fixture
def server(app):
    live = LiveServer(app)
    live.start()
    yield live
    live.stop()


@pytest.fixture
def atelier(server, alice):
    with Client(server.url, alice.token, patience=20) as client:
        yield client


def run_next(work, *texts):
    """As a worker does, in another thread, as soon as there is work."""

    def work_once():
        (job,) = wait_until(work.claim)
        work.succeed(job, texts)

    thread = threading.Thread(target=work_once)
    thread.start()
    return thread


def test_an_answer_is_a_dict_and_its_fields_are_attributes(atelier, work, alice):
    made = work.training(alice)
    job = atelier.jobs.get(made["id"])
    assert isinstance(job, dict) and job["id"] == job.id == made["id"]
    assert json.loads(json.dumps(job)) == dict(job)
    assert repr(job) == f"Job(id='{job.id}', state='queued', kind='train', family='toy')"
    with pytest.raises(AttributeError):
        job.nonsense  # noqa: B018


def test_a_job_is_waited_for_and_hands_out_what_it_made(atelier, work, alice):
    model = work.model(alice)
    job = atelier.jobs.submit("generate", {"count": 2}, model_id=model)
    assert job.artifacts == [] and not job.has_ended and job.model is None
    worker, states = run_next(work, b"one", b"two"), []
    assert job.wait(lambda news: states.append(news.state), timeout=30) is job
    worker.join()
    assert job.has_ended and states[-1] == "succeeded"
    assert [artifact.text for artifact in job.artifacts] == ["one", "two"]
    assert [type(artifact) for artifact in job.artifacts] == [Artifact, Artifact]


def test_generate_returns_the_artifacts(atelier, work, alice, tmp_path):
    model = atelier.models.get(work.model(alice))
    worker = run_next(work, b"one", b"two")
    made = atelier.generate(model, prompt="Dear ", count=2, seed=3, timeout=30)
    worker.join()
    assert [artifact.content() for artifact in made] == [b"one", b"two"]
    assert made[1].save(tmp_path).read_bytes() == b"two"
    job = atelier.jobs.get(made[0].job_id)
    assert (job.params["prompt"], job.params["count"], job.seed) == ("Dear ", 2, 3)


def test_generate_raises_what_became_of_the_job(atelier, work, alice):
    model = work.model(alice)

    def cancel():
        (job,) = wait_until(lambda: atelier.jobs.list(state="queued"))
        job.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(JobFailed, match="has cancelled") as caught:
        atelier.generate(model, timeout=30)
    thread.join()
    assert caught.value.job["state"] == "cancelled"


def test_changes_bring_the_object_up_to_date(atelier, work, alice):
    job = atelier.jobs.get(work.training(alice)["id"])
    assert job.pause().paused and not job.resume().paused
    assert job.cancel().state == "cancelled"
    again = job.retry()
    assert isinstance(again, Job) and again.retry_of == job.id
    again.delete()
    with pytest.raises(ApiError):
        again.refresh()
    model = atelier.models.get(work.model(alice))
    assert model.rename("New").name == "New" and model.share().visibility == "shared"
    assert model.share(False).visibility == "private"


def test_events_go_on_through_a_restart_each_once(atelier, server, work, alice):
    job = atelier.jobs.get(work.training(alice)["id"])
    (row,) = work.claim()
    work.report(row, step=1, total=3)
    numbers = []
    for event in job.events():
        numbers.append(event["n"])
        if event["type"] == "progress" and event["data"]["step"] == 1:
            server.stop()
            work.report(row, step=2, total=3)
            server.start()
            work.succeed(row)
    assert numbers == list(range(1, len(numbers) + 1))
    assert [event["n"] for event in job.events(after=numbers[-2])] == numbers[-1:]


def picture(kind):
    file = io.BytesIO()
    Image.new("L", (3, 2)).save(file, kind)
    return file.getvalue()


def artifact_of(media_type, data):
    client, requests = answering(httpx.Response(200, content=data))
    card = {"id": "a", "name": "x", "media_type": media_type}
    return Artifact(card, Artifacts(client._connection)), requests


def test_a_notebook_shows_pictures():
    png, requests = artifact_of("image/png", picture("png"))
    assert png._repr_png_() == picture("png") == png.content()
    assert png.image.size == (3, 2)
    assert len(requests) == 1  # fetched once
    assert png._repr_html_() is None and png._repr_jpeg_() is None
    jpeg, _ = artifact_of("image/jpeg", picture("jpeg"))
    assert jpeg._repr_jpeg_() == picture("jpeg") and jpeg._repr_png_() is None
    with pytest.raises(ValueError, match="no text"):
        _ = png.text


def test_a_notebook_shows_text_and_runs_none_of_it():
    text, _ = artifact_of("text/plain", b"<script>alert(1)</script> \xff")
    shown = text._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown
    assert text._repr_png_() is None
    with pytest.raises(ValueError, match="no image"):
        _ = text.image


def test_a_submit_that_was_answered_into_the_void_makes_one_job(app, alice, work):
    data, lost = work.dataset(alice), []

    class Void(httpx.WSGITransport):
        def handle_request(self, request):
            answer = super().handle_request(request)
            if request.method == "POST" and not lost:
                lost.append(answer)
                raise httpx.ReadError("the answer was lost")
            return answer

    client = Client("http://127.0.0.1", alice.token, transport=Void(app=app))
    job = client.jobs.submit("train", family="toy", dataset_id=data)
    assert lost and [row.id for row in client.jobs.list()] == [job.id]


def test_the_servers_word_on_when_to_come_back_is_kept(monkeypatch):
    waits = []
    monkeypatch.setattr("atelier_client.connection.time.sleep", waits.append)
    client, _ = answering(
        httpx.Response(503, headers={"Retry-After": "7"}, json={}),
        httpx.Response(429, headers={"Retry-After": "3"}, json={}),
        httpx.ConnectError("refused"),
        httpx.Response(200, json={"id": "j"}),
        patience=60,
    )
    assert client.jobs.get("j").id == "j"
    assert waits[:2] == [7, 3] and 0 < waits[2] < 1


def test_nobody_waits_longer_than_he_has_patience_for():
    client, _ = answering(httpx.Response(503, headers={"Retry-After": "100"}, json={}), patience=5)
    with pytest.raises(Unreachable):
        client.jobs.get("j")


def test_deleting_what_a_lost_answer_deleted_is_no_error():
    gone = httpx.Response(404, json={"code": "not_found"})
    client, _ = answering(httpx.ReadError("cut"), gone)
    client.models.delete("m")
    client, _ = answering(gone)
    with pytest.raises(ApiError):
        client.models.delete("m")


def packed():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "once upon a time " * 100)
    return file.getvalue()


PACKED = packed()
HEAD = {"ETag": '"v1"', "Accept-Ranges": "bytes", "Content-Length": str(len(PACKED))}


class Cut(httpx.SyncByteStream):
    """The beginning of an answer whose connection breaks."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield self.data
        raise httpx.ReadError("cut")


def test_an_archive_that_broke_off_goes_on_where_it_stopped(tmp_path):
    data, told = PACKED, []
    client, requests = answering(
        httpx.Response(200, headers=HEAD),
        httpx.Response(200, headers=HEAD, stream=Cut(data[:500])),
        httpx.Response(206, headers={"ETag": '"v1"'}, content=data[500:]),
    )
    path = client.models.download("m", tmp_path / "m.zip", lambda *sent: told.append(sent))
    assert path.read_bytes() == data
    assert requests[2].headers["Range"] == "bytes=500-"
    assert requests[2].headers["If-Range"] == '"v1"'
    assert told == [(500, len(data)), (len(data), len(data))]
    assert [path.name for path in tmp_path.iterdir()] == ["m.zip"]


def test_an_archive_that_has_changed_meanwhile_begins_anew(tmp_path):
    data = PACKED
    client, _ = answering(
        httpx.Response(200, headers=HEAD),
        httpx.Response(200, headers=HEAD, stream=Cut(b"older bytes")),
        httpx.Response(200, headers=HEAD, content=data),
    )
    assert client.models.download("m", tmp_path / "m.zip").read_bytes() == data


def test_a_broken_archive_is_not_left_under_its_name(tmp_path):
    client, _ = answering(
        httpx.Response(200, headers=HEAD),
        httpx.Response(200, headers=HEAD, content=b"x" * len(PACKED)),
    )
    with pytest.raises(BrokenDownload):
        client.models.download("m", tmp_path / "m.zip")
    client, _ = answering(httpx.Response(404, json={"code": "not_found"}))
    with pytest.raises(NotFound):
        client.models.download("m", tmp_path / "other.zip")
    assert list(tmp_path.iterdir()) == []


def test_what_was_never_sent_is_sent_again(monkeypatch):
    monkeypatch.setattr("atelier_client.connection.time.sleep", lambda _: None)
    client, requests = answering(
        httpx.ConnectError("refused"), httpx.Response(202, json={"id": "j"}), patience=60
    )
    assert client.jobs.retry("i").id == "j"
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "not_signed_in", NotSignedIn),
        (403, "forbidden", NotAllowed),
        (404, "not_found", NotFound),
        (409, "in_use", Conflict),
        (409, "quota_exceeded", QuotaExceeded),
        (422, "too_expensive", InvalidInput),
    ],
)
def test_refusals_are_typed_and_carry_the_fields_of_the_problem(status, code, kind):
    body = {
        "type": "about:blank",
        "title": "T",
        "status": status,
        "detail": "D",
        "code": code,
        "request_id": "r",
        "errors": [{"pointer": "/a", "message": "m"}],
    }
    client, _ = answering(httpx.Response(status, json=body))
    with pytest.raises(kind) as caught:
        client.jobs.get("j")
    error = caught.value
    assert type(error) is kind
    assert (error.title, error.status, error.detail, error.code) == ("T", status, "D", code)
    assert (error.request_id, error.errors) == ("r", body["errors"])
    assert str(error) == f"D ({code})\n  /a: m"


def test_a_notebook_shows_a_job_with_its_pictures_and_no_script(app, alice, work):
    client = Client("http://127.0.0.1", alice.token, transport=httpx.WSGITransport(app=app))
    job = client.jobs.get(work.training(alice, name="<script>alert(1)</script>")["id"])
    shown = job._repr_html_()
    assert "&lt;script&gt;" in shown and "<script>" not in shown and "queued" in shown
    dataset = client.datasets.get(job.dataset_id)
    assert "pictures" in client.datasets.list()[0].name and "<table>" in dataset._repr_html_()


def test_a_notebook_keeps_text_in_its_fence():
    text, _ = artifact_of("text/plain", b"a ```` fence\n```\n# no heading")
    shown = text._repr_markdown_()
    assert shown.startswith("`````text\n") and shown.endswith("\n`````")
