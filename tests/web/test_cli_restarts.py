"""The `atelier` command in a process of its own, while the web server is killed and started again in the middle."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile

import pytest

from atelier_client import Client
from shared import uploads
from tests.proxy import Proxy
from tests.servers import die_with_parent
from tests.web.live import WebProcess
from tests.work import ROOT

DATA = random.Random(7).randbytes(20 << 20)
# so that a transfer takes long enough for a server to die in it
BYTES_PER_SECOND = 10 << 20


@pytest.fixture
def web(app, settings):
    web = WebProcess(settings)
    yield web
    web.kill()


@pytest.fixture
def proxy(web):
    with Proxy(web.settings.port) as proxy:
        proxy.bytes_per_second = BYTES_PER_SECOND
        yield proxy


@pytest.fixture
def atelier(alice):
    """Starts a command as alice; what is left of it at the end is ended."""
    started = []

    def start(url, *arguments):
        environment = {"PATH": os.environ["PATH"], "ATELIER_URL": url, "ATELIER_TOKEN": alice.token}
        process = subprocess.Popen(
            [sys.executable, "-m", "web.cli", *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def restart_when(web, stream, word):
    """Kills the server when the command has said this, and starts it again."""
    said = []
    for line in stream:
        said.append(line)
        if word in line:
            web.kill()
            web.start()
            return
    raise AssertionError(f"never said {word!r}: {said}")


def test_a_watch_and_its_events_survive(web, atelier, work, alice):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    watching = atelier(web.url, "job", "watch", job_id, "--events", "--log")
    work.report(job, step=1, total=2, log="half of it\n")
    restart_when(web, watching.stderr, "half of it")
    work.report(job, step=2, total=2, log="all of it\n")
    work.succeed(job)
    shown, said = watching.communicate(timeout=120)
    assert watching.returncode == 0, said
    assert said.count("all of it") == 1
    numbers = [json.loads(line)["n"] for line in shown.splitlines()]
    assert numbers == [event["n"] for event in alice.get(f"/jobs/{job_id}/events").json["items"]]


def test_an_upload_goes_on(web, proxy, atelier, settings, tmp_path):
    file = tmp_path / "big.txt"
    file.write_bytes(DATA)
    url = f"http://127.0.0.1:{proxy.port}"
    adding = atelier(url, "dataset", "add", file, "--accept-partial", "--no-wait", "--json")
    restart_when(web, adding.stderr, "uploading: 8,388,608 of 20,971,520 bytes")
    shown, said = adding.communicate(timeout=120)
    assert adding.returncode == 0, said
    made = json.loads(shown)
    assert (made["state"], made["bytes"]) == ("checking", len(DATA))
    assert uploads.file_of(uploads.folder_of(settings, made["id"]), 0).read_bytes() == DATA


def test_a_command_that_was_killed_is_continued_by_the_next(
    web, proxy, atelier, alice, settings, tmp_path
):
    file = tmp_path / "big.txt"
    file.write_bytes(DATA)
    add = ("dataset", "add", file, "--resumable", "--no-wait")
    killed = atelier(f"http://127.0.0.1:{proxy.port}", *add)
    assert any("uploading: 8,388,608 of" in line for line in killed.stderr)
    killed.kill()
    (upload,) = alice.get("/uploads").json["items"]
    assert 8 << 20 <= upload["offset"] < len(DATA)
    again = atelier(web.url, *add, "--continue", upload["id"])
    shown, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert alice.get("/uploads").json["items"] == []
    assert uploads.file_of(uploads.folder_of(settings, shown.strip()), 0).read_bytes() == DATA


def test_a_download_of_an_archive_goes_on(web, proxy, atelier, work, alice, tmp_path):
    job_id = work.generation(alice)["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, (DATA,))
    url = f"http://127.0.0.1:{proxy.port}"
    proxy.bytes_per_second = (
        BYTES_PER_SECOND // 4
    )  # the server dies some pieces after it is told to
    target = tmp_path / "results.zip"
    fetching = atelier(url, "job", "archive", job_id, "-o", target)
    restart_when(web, fetching.stderr, "of 20,97")
    (part,) = tmp_path.glob("results.zip.*.part")
    assert 0 < part.stat().st_size < len(DATA)
    shown, said = fetching.communicate(timeout=120)
    assert fetching.returncode == 0, said
    assert shown.strip() == str(target)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert archive.read("0.txt") == DATA
    assert not part.exists()


def test_a_client_in_a_program_waits_through_a_restart(web, work, alice):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    with Client(web.url, alice.token) as client:
        mine = client.jobs.get(job_id)
        web.kill()
        web.start()
        work.succeed(job, model=True)
        assert mine.wait(timeout=60).result_or_raise().model.family == "toy"
