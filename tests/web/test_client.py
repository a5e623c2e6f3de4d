"""The Python client: repeats what may be repeated, resumes downloads, and checks what it got."""

from __future__ import annotations

import io
import os
import zipfile

import httpx
import pytest

from atelier_client import ApiError, BrokenDownload, Client, ClientError, Unreachable
from atelier_client.datasets import _zipped
from atelier_client.progress import ProgressLine, describe, duration
from tests.web.live import LiveServer


@pytest.fixture
def atelier(app, alice):
    live = LiveServer(app)
    live.start()
    with Client(live.url, alice.token, patience=20) as client:
        yield client
    live.stop()


def answering(*answers, patience=5.0):
    """A client whose server gives these answers, one after the other."""
    waiting = list(answers)
    requests = []

    def handle(request):
        requests.append(request)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = Client("http://x", "t", patience=patience, transport=httpx.MockTransport(handle))
    return client, requests


def test_an_error_carries_code_and_fields(atelier):
    with pytest.raises(ApiError) as caught:
        atelier.jobs.submit("train", family="none", dataset_id="none")
    assert caught.value.status in (404, 422)
    assert caught.value.code
    with pytest.raises(ApiError) as caught:
        atelier.jobs.get("none")
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_me_is_the_owner_of_the_token(atelier):
    assert atelier.me()["name"] == "alice"


def test_lists_go_through_all_pages(atelier, work, alice):
    made = {work.training(alice)["id"] for _ in range(3)}
    assert {job["id"] for job in atelier.jobs.list()} == made
    assert len(atelier.jobs.list(limit=2)) == 2
    first = atelier.datasets.list()[0]["id"]
    assert [item["name"] for item in atelier.datasets.items(first)] == ["a.png"]


def test_wait_tells_every_change_and_returns_the_end(atelier, work, alice):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    states = []

    def seen(found):
        states.append(found["state"])
        if len(states) == 1:
            work.succeed(job, model=True)

    ended = atelier.jobs.wait(job_id, seen, timeout=30)
    assert (states[0], ended["state"]) == ("running", "succeeded")
    assert atelier.models.get(ended["result"]["model_id"])["family"] == "toy"
    assert atelier.models.change(ended["result"]["model_id"], name="new")["name"] == "new"


def test_wait_gives_up_when_told_to(atelier, work, alice):
    job_id = work.training(alice)["id"]
    with pytest.raises(ClientError, match="not ended"):
        atelier.jobs.wait(job_id, timeout=0)


def test_events_come_in_order(atelier, work, alice):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    work.report(job, step=3, total=10, points=[[3, 0.1, {"loss": 1.5}]])
    numbers = [event["n"] for event in atelier.jobs.events(job_id)]
    assert numbers == sorted(numbers) and len(numbers) >= 2
    assert atelier.jobs.metrics(job_id)["series"]["loss"]


def test_a_download_continues_where_it_stopped(atelier, work, alice, tmp_path):
    artifact = work.artifact(alice, b"0123456789" * 1000)
    card = atelier.artifacts.get(artifact)
    part = tmp_path / f"out.txt.{card['sha256'][:12]}.part"
    part.write_bytes(b"0123456789" * 500)
    seen = []
    path = atelier.artifacts.download(artifact, tmp_path / "out.txt", lambda *at: seen.append(at))
    assert path.read_bytes() == b"0123456789" * 1000
    assert seen[0] == (10_000, 10_000)
    assert not part.exists()


def test_an_archive_keeps_its_name_in_any_script(atelier, work, alice, tmp_path):
    job_id = work.generation(alice, name="Wiersze 詩 ę")["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, (b"one", b"two"))
    path = atelier.jobs.archive(job_id, tmp_path)
    assert path.name == f"Wiersze_詩_ę-{job_id}.zip"
    assert zipfile.ZipFile(path).read("0.txt") == b"one"
    chosen = atelier.artifacts.archive([one.id for one in atelier.jobs.artifacts(job_id)], tmp_path)
    assert zipfile.ZipFile(chosen).read(f"{job_id}/1.txt") == b"two"


def test_wrong_bytes_never_get_the_name(atelier, work, alice, tmp_path):
    artifact = work.artifact(alice, b"0123456789")
    card = atelier.artifacts.get(artifact)
    part = tmp_path / f"out.txt.{card['sha256'][:12]}.part"
    part.write_bytes(b"X")
    with pytest.raises(BrokenDownload):
        atelier.artifacts.download(artifact, tmp_path / "out.txt")
    assert list(tmp_path.glob("out*")) == []
    assert atelier.artifacts.download(artifact, tmp_path / "out.txt").read_bytes() == b"0123456789"
    assert atelier.artifacts.lineage(artifact)


def test_the_servers_name_for_a_file_stays_in_the_folder(tmp_path):
    data = b"x"
    card = {
        "id": "a",
        "name": "../../etc/passwd",
        "bytes": 1,
        "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    }
    client, _ = answering(httpx.Response(200, json=card), httpx.Response(200, content=data))
    assert client.artifacts.download("a", tmp_path) == tmp_path / "passwd"


def test_a_server_that_is_away_is_waited_for():
    client, requests = answering(
        httpx.ConnectError("refused"),
        httpx.Response(503, headers={"Retry-After": "0.01"}, json={"detail": "starting"}),
        httpx.Response(200, json={"id": "j"}),
    )
    assert client.jobs.get("j") == {"id": "j"}
    assert len(requests) == 3


def test_patience_has_an_end():
    client, _ = answering(httpx.ConnectError("refused"), patience=0)
    with pytest.raises(Unreachable, match="cannot reach http://x"):
        client.jobs.get("j")


def test_a_repeated_submit_carries_the_same_key():
    client, requests = answering(httpx.ReadError("cut"), httpx.Response(202, json={"id": "j"}))
    client.jobs.submit("train", {"steps": 1}, family="toy", seed=None)
    keys = {request.headers["Idempotency-Key"] for request in requests}
    assert len(requests) == 2 and len(keys) == 1
    assert b"seed" not in requests[0].content


def test_what_would_be_done_twice_is_not_repeated():
    client, requests = answering(httpx.ReadError("cut"))
    with pytest.raises(Unreachable):
        client.jobs.retry("j")
    assert len(requests) == 1


def test_an_answer_that_is_no_problem_document_is_still_an_error():
    client, _ = answering(httpx.Response(418, text="teapot"))
    with pytest.raises(ApiError) as caught:
        client.jobs.get("j")
    assert caught.value.code == "http_418"


def test_a_folder_is_sent_as_one_zip_with_its_subfolders(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.png").write_bytes(b"p")
    (tmp_path / ".hidden").write_bytes(b"h")
    os.utime(tmp_path / "cats" / "1.png", (0, 0))  # as files come that had no time
    with _zipped(tmp_path) as file:
        assert zipfile.ZipFile(file).namelist() == ["cats/1.png"]


def test_paths_and_sample_exclude_each_other():
    client, _ = answering()
    with pytest.raises(ValueError, match="either"):
        client.datasets.add(["a"], sample="digits")


def test_waiting_for_a_dataset_ends_when_it_is_checked():
    checking = {"id": "d", "state": "checking"}
    client, _ = answering(
        httpx.Response(200, json=checking), httpx.Response(200, json={"state": "ready", "items": 3})
    )
    assert client.datasets.wait("d")["items"] == 3


def test_progress_is_one_line_on_a_terminal_and_a_few_in_a_file():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    job = {"state": "running", "progress": {"fraction": 0.5, "step": 5, "total_steps": 10}}
    live, plain = Terminal(), io.StringIO()
    for stream in (live, plain):
        line = ProgressLine("train", stream)
        for _ in range(3):
            line.job(job)
        line.end()
    assert "50%" in live.getvalue() and live.getvalue().count("\n") == 1
    assert plain.getvalue() == "train: running, step 5/10\n"


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"state": "queued", "queue": {"position": 3}}, "queued, place 3"),
        ({"state": "queued"}, "queued"),
        ({"state": "failed", "error": {"code": "oom", "message": "No."}}, "failed: No. (oom)"),
        (
            {"state": "running", "progress": {"step": 1, "total_steps": 2, "eta_seconds": 75}},
            "running, step 1/2, 1 min 15 s left",
        ),
    ],
)
def test_a_job_is_described_in_a_few_words(job, words):
    assert describe(job) == words


def test_durations_are_told_roughly():
    assert [duration(s) for s in (3.4, 61, 7300)] == ["3 s", "1 min 1 s", "2 h 1 min"]
