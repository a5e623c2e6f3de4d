"""The forms of jobs without a script: presets, estimates, earlier jobs and results, the same job for programs."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from shared import catalog
from tests.servers import wait_until
from tests.web.browsing import Page
from tests.web.conftest import ANNOUNCEMENT
from tests.web.live import LiveServer
from web.services import recall
from worker.labels import labelled

NASTY = 'It\'s "quoted", $HOME `id` \\n\n中文 {“a”: null} %s'
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c63600000000200014873af14"  # cut short: nobody decodes it here
)


def copies(text: str) -> dict[str, str]:
    """The texts to copy, by name."""
    found = re.findall(r'id="copy-(curl|python|cli|json)".*?<pre[^>]*>(.*?)</pre>', text, re.DOTALL)
    return {name: unescape(inside) for name, inside in found}


@pytest.fixture
def presets(studio, toy):
    train = {
        **ANNOUNCEMENT["actions"]["train"],
        "presets": [
            {"name": "quick", "title": "Quick", "params": {"steps": 5, "width": 2}},
            {"name": "thorough", "title": "Thorough", "params": {"steps": 5000}},
        ],
    }
    actions = {**ANNOUNCEMENT["actions"], "train": train}
    with studio.db.writing() as session:
        catalog.announce(session, {**ANNOUNCEMENT, "actions": actions})


# ---- filled in ----------------------------------------------------------------------------------


def test_presets_fill_the_form_in(mine, presets):
    page = mine.page("/train/toy")
    assert "Thorough" in page.words
    page = mine.page("/train/toy?preset=quick")
    assert page.field("params.steps")["value"] == "5"
    assert page.field("params.width")["value"] == "2"
    assert page.field("params.heads")["value"] == "2"  # the default
    assert mine.page("/train/toy?preset=nonsense").field("params.steps")["value"] == "100"


@pytest.mark.parametrize(
    ("use", "steps", "seed"),
    [("", "20", "77"), ("&use=remix", "20", ""), ("&use=seed", "100", "77")],
)
def test_an_earlier_training_fills_the_form_in(mine, things, alice, use, steps, seed):
    body = {"dataset_id": things["dataset"], "params": {"steps": 20}, "seed": 77}
    job = alice.post("/jobs", json={"kind": "train", "family": "toy", **body}).json
    page = mine.page(f"/train/toy?from={job['id']}{use}")
    assert page.field("params.steps")["value"] == steps
    assert page.field("seed")["value"] == seed
    if use != "&use=seed":
        (chosen,) = [one for one in page.all("input", name="dataset_id") if "checked" in one]
        assert chosen["value"] == things["dataset"]


def test_the_prompt_of_an_earlier_generation_is_taken_alone(mine, things, alice):
    params = {"count": 3, "prompt": "Dear"}
    job = alice.post(
        "/jobs", json={"kind": "generate", "model_id": things["model"], "params": params}
    ).json
    page = mine.page(f"/generate/{things['model']}?from={job['id']}&use=prompt")
    assert ">\nDear</textarea>" in page.text
    assert page.field("params.count")["value"] == "1"
    # one value of the address goes before the job's
    page = mine.page(f"/generate/{things['model']}?from={job['id']}&params.count=5")
    assert page.field("params.count")["value"] == "5"


def test_somebody_elses_job_fills_nothing_in(theirs, things):
    assert theirs.get(f"/train/toy?from={things['job']}").status_code == 404


# ---- a result dropped on the form ---------------------------------------------------------------


def dropped(browser, data: bytes, back="/train/toy"):
    form = {"file": (io.BytesIO(data), "a.png"), "back": back}
    return browser.post("/recall", form)


def test_a_downloaded_result_leads_to_the_form_it_was_made_by(mine, theirs, things, alice):
    answer = dropped(mine, b"a poem\nin two lines")
    job_id = alice.get(f"/artifacts/{things['artifact']}").json["job_id"]
    job = alice.get(f"/jobs/{job_id}").json
    assert answer.headers["Location"] == f"/generate/{job['model_id']}?from={job_id}"
    assert mine.page(answer.headers["Location"]).field("seed")["value"] == str(job["seed"])
    # the same bytes tell somebody else nothing
    assert dropped(theirs, b"a poem\nin two lines").headers["Location"] == "/train/toy"
    assert "is no result that was made here" in theirs.says()


def test_a_picture_of_another_installation_says_itself_what_it_was_made_from(mine, things, alice):
    model = alice.get(f"/models/{things['model']}").json
    made_from = {
        "model": model["sha256"],
        "params": {"count": 4, "prompt": "Dear", "unknown": 1},
        "seed": 99,
        "index": 2,
    }
    answer = dropped(mine, labelled(PIXEL, "image/png", {}, made_from))
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.field("params.count")["value"] == "4"
    assert page.field("seed")["value"] == "99"
    same = [one for one in alice.get("/models").json["items"] if one["sha256"] == model["sha256"]]
    actions = {one.get("action") for one in page.all("form")}
    assert actions & {f"/generate/{one['id']}" for one in same}
    gone = labelled(PIXEL, "image/png", {}, {**made_from, "model": "f" * 64})
    assert dropped(mine, gone).headers["Location"] == "/train/toy"
    assert "with a model that is not here" in mine.says()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffiTXt" + b"a" * 100,
        PIXEL[:33] + b"\0\0\0\x12iTXtparameters\0\0\0\0\0[1,",
        PIXEL[:33] + b"\0\0\0\x13iTXtparameters\0\0\0\0\0null",
    ],
)
def test_strange_files_are_refused_in_words(mine, things, data):
    assert dropped(mine, data, back="https://evil.example/").headers["Location"] == "/generate"
    assert "This file" in mine.says()


def test_only_what_labels_write_is_believed():
    assert recall._made_from(io.BytesIO(PIXEL)) is None
    made_from = {"model": "m", "params": {}, "seed": 1, "index": 0}
    assert recall._made_from(io.BytesIO(labelled(PIXEL, "image/png", {}, made_from))) == made_from


# ---- what it would cost -------------------------------------------------------------------------


def test_the_estimate_needs_no_script(mine, things, alice):
    before = len(alice.get("/jobs").json["items"])
    form = {"dataset_id": things["dataset"], "params.steps": "30", "name": "kept", "nonce": "n"}
    answer = mine.post("/train/toy/estimate", form)
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.field("params.steps")["value"] == "30"
    assert page.field("name")["value"] == "kept"
    assert "Takes" in page.words
    assert '"steps": 30' in copies(answer.text)["json"]
    assert len(alice.get("/jobs").json["items"]) == before


def test_a_part_of_the_estimate_says_what_is_wrong_by_input(mine, things):
    form = {"dataset_id": things["dataset"], "params.steps": "x", "params.width": "9", "seed": "-"}
    answer = mine.post("/train/toy/estimate?part=1", form)
    assert answer.text.lstrip().startswith("<div id=")
    wrong = {one["data-wrong"] for one in Page(answer.text).all("li")}
    assert wrong == {"params.steps", "seed"}
    assert copies(answer.text) == {}
    wrong = mine.post("/train/toy/estimate?part=1", {"params.width": "9"}).text
    assert 'data-wrong="dataset_id"' in wrong


# ---- the same job for programs ------------------------------------------------------------------


@pytest.fixture
def live(app, limits):
    server = LiveServer(app)
    server.start()
    limits(public_url=server.url)
    yield server
    server.stop()


def test_what_is_copied_makes_the_same_job(mine, things, alice, live):
    """curl, Python and the command line, run as they stand, with values that a shell or Python might misread."""
    path = f"/generate/{things['model']}"
    form = {"params.count": "3", "params.prompt": NASTY, "seed": "7", "name": "it's “it”"}
    texts = copies(mine.post(f"{path}/estimate?part=1", form).text)
    submitted = mine.post(path, form)
    wanted = alice.get("/jobs/" + submitted.headers["Location"].rsplit("/", 1)[1]).json
    assert wanted["params"]["prompt"] == NASTY
    runs = {
        "curl": ["bash", "-c", texts["curl"]],
        "python": [sys.executable, "-c", texts["python"]],
        "cli": ["bash", "-c", texts["cli"]],
    }
    environment = {
        **os.environ,
        "ATELIER_TOKEN": alice.token,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    for name, command in runs.items():
        known = {job["id"] for job in alice.get("/jobs").json["items"]}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

        def made(known=known):
            return [job for job in alice.get("/jobs").json["items"] if job["id"] not in known]

        (job,) = wait_until(made, 30, f"{name} makes a job")
        assert alice.post(f"/jobs/{job['id']}/cancel").status_code == 200  # what waits for it ends
        output = process.communicate(timeout=30)[0]
        assert job["id"] in output, (name, output)
        for part in ("kind", "family", "model_id", "params", "seed", "name"):
            assert job[part] == wanted[part], (name, part)
    answer = alice.post("/jobs", data=texts["json"], headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    assert answer.json["params"] == wanted["params"]


# ---- pickers ------------------------------------------------------------------------------------


def test_a_model_is_chosen_on_a_page_of_its_own(mine, theirs, things):
    links = {one["href"] for one in mine.page("/generate").all("a")}
    assert f"/generate/{things['model']}" in links
    assert "No models yet" in theirs.page("/generate").words


def test_many_datasets_can_be_searched(mine, work, alice):
    for n in range(7):
        work.dataset(alice, name=f"set {n}")
    page = mine.page("/train/toy")
    assert page.all("input", type="search", **{"data-filter": "#dataset-cards"})
    assert len([one for one in page.all("label") if "data-filter-text" in one]) == 7
