"""Pages that somebody asks for in bad faith, or while the storage is away, or after what they show is gone."""

from __future__ import annotations

import json

import pytest

from shared.db import clock
from shared.errors import StorageAway
from shared.models import Artifact, Dataset, Job, Model
from tests.web.browsing import Browser
from tests.web.test_job_forms import PIXEL, dropped
from web.said import said
from web.services import fair_share
from web.views import numbers


def test_a_line_break_in_an_address_is_kept_as_it_was_asked_for(app, mine):
    for browser in (Browser(app), mine):
        answer = browser.get("/datasets/a%0Ab?language=en")
        assert answer.status_code == 303
        assert answer.headers["Location"] == "/datasets/a%0Ab"
    assert 'href="/datasets/a%0Ab?language=' in mine.get("/datasets/a%0Ab").text


def test_another_language_for_a_refused_form_leads_to_its_page(mine, toy):
    refused = mine.post("/train/toy", {"params.steps": "0"})
    assert refused.status_code == 422 and 'href="/train/toy?language=' in refused.text


def test_a_seed_of_thousands_of_digits_is_no_seed(mine, things):
    assert mine.get("/train/toy?seed=" + "9" * 4301).status_code == 200


@pytest.mark.parametrize(
    "label",
    [
        '{"model": "\\ud800", "params": {}, "seed": 1}',
        '{"model": "m", "params": {"prompt": "\\u0000"}, "seed": 1}',
        '{"model": "m", "params": {"a": ' + "[" * 450 + "]" * 450 + '}, "seed": 1}',
        '{"model": "m", "params": {"\\ud800": 1}, "seed": 1}',
        '{"model": "m", "params": {}, "seed": -1}',
        '{"model": "m", "params": {"a": NaN}, "seed": 1}',
    ],
)
def test_a_crafted_label_is_no_label(mine, things, label):
    text = b"parameters" + b"\0" * 5 + label.encode()
    crafted = PIXEL[:33] + len(text).to_bytes(4, "big") + b"iTXt" + text + b"\0" * 4
    assert dropped(mine, crafted).status_code == 303
    assert "is no result that was made here" in mine.says()


def test_a_result_is_recalled_also_without_room_but_not_endlessly(
    mine, things, limits, monkeypatch
):
    limits(max_storage_bytes=1)
    assert "?from=" in dropped(mine, b"a poem\nin two lines").headers["Location"]
    restore = mine.app.view_functions["pages.generate.restore"]
    monkeypatch.setattr(restore, "takes_file", 1000)
    assert dropped(mine, b"x" * 5000).status_code == 413


def test_a_result_of_a_deleted_model_is_refused_in_words(mine, things, studio, alice):
    made = alice.get(f"/artifacts/{things['artifact']}").json
    alice.delete(f"/models/{made['model_id']}?force=1")
    assert dropped(mine, b"a poem\nin two lines").headers["Location"] == "/train/toy"
    assert "with a model that is not here" in mine.says()


def test_only_the_part_of_a_long_job_that_lies_in_the_day_counts(work, alice, studio):
    ids = [work.training(alice)["id"] for _ in range(2)]
    work.claim()
    with studio.db.writing() as session:
        at = clock(session)
        for job_id in ids:
            job = session.get_one(Job, job_id)
            job.started_at, job.device_seconds = at - 10 * fair_share.DAY, 9 * fair_share.DAY
        job.state, job.finished_at = "succeeded", at - fair_share.DAY + 60
    used = fair_share.get_share(studio, alice.user)["used_seconds"]
    assert used == pytest.approx(fair_share.DAY + 60, abs=5)


def test_the_same_form_after_its_job_was_deleted_makes_a_new_one(mine, things, alice):
    form = {"nonce": "once", "params.steps": "5", "dataset_id": things["dataset"]}
    first, again = (mine.post("/train/toy", form).headers["Location"] for _ in range(2))
    assert first == again
    mine.post(f"{first}/delete")
    second, again = (mine.post("/train/toy", form).headers["Location"] for _ in range(2))
    assert second == again != first
    assert mine.get(second).status_code == 200


def test_pages_stand_while_the_storage_is_away(mine, things, work, alice, studio, monkeypatch):
    texts = work.dataset(alice, kind="text", facts={"items": 1})
    job_id = alice.get(f"/artifacts/{things['artifact']}").json["job_id"]
    # the file of one dataset's items is missing while all the rest is there
    assert "is gone or cannot be read" in mine.page(f"/datasets/{texts}/items").words

    def away(*_args):
        raise StorageAway()

    monkeypatch.setattr(type(studio.storage), "open", away)
    for path in ("/", f"/jobs/{job_id}", f"/models/{things['model']}", f"/datasets/{texts}/items"):
        assert mine.get(path).status_code == 200, path
    shown = mine.page(f"/artifacts/{things['artifact']}")
    assert "is gone or cannot be read" in shown.words


@pytest.mark.parametrize("architectures", [[], None, "x", {"a": 1}])
def test_a_model_whose_config_names_no_architecture_has_its_page(
    mine, things, studio, architectures
):
    with studio.db.writing() as session:
        row = session.get_one(Model, things["model"])
        row.files = {**row.files, "config.json": {"sha256": "4" * 64, "bytes": 1}}
        config = json.dumps({"architectures": architectures}).encode()
        studio.storage.put_bytes(f"{row.location}/config.json", config)
    assert "from worker.families.toy import load" in mine.page(f"/models/{things['model']}").words


def test_of_several_results_those_that_are_here_are_deleted_and_counted(mine, work, alice):
    first, second = (work.artifact(alice, data) for data in (b"one", b"two"))
    alice.delete(f"/artifacts/{first}")
    form = {"action": "delete", "id": [first, second]}
    assert mine.post("/results/selected", form).status_code == 303
    assert "1 result is deleted" in mine.says()
    assert mine.post("/results/selected", form).status_code == 303
    assert "None of these results is here any more" in mine.says()


def test_a_change_that_is_refused_says_what_is_wrong(mine, things):
    path = f"/artifacts/{things['artifact']}"
    mine.post(path, {"visibility": "public"})
    assert "visibility" in mine.says()
    mine.post(path, {"tags": "x" * 50})
    assert "This is no tag" in mine.says()
    assert mine.post(f"{path}/delete?q=poem").headers["Location"] == "/results?q=poem"


def test_messages_of_thousands_of_parts_are_said(app):
    with app.test_request_context("/"):
        assert said("must be at least 3; " * 3000).startswith("must be at least 3")
        assert said("a. " * 3000 + "b") == "a. " * 3000 + "b"


def test_shares_and_moments_are_said_as_they_are(app):
    assert [numbers.percent(part) for part in (0.29, 0.57, 0.999999, 1)] == [
        "29 %",
        "57 %",
        "99 %",
        "100 %",
    ]
    with app.test_request_context("/"):
        now = numbers.datetime.now(numbers.UTC).timestamp()
        assert "in a moment" in numbers.ago(now + 30) and "just now" in numbers.ago(now)


def test_models_are_searched_on_the_server(mine, work, alice, monkeypatch):
    for n in range(3):
        alice.patch(f"/models/{work.model(alice)}", json={"name": f"kind number {n}"})
    monkeypatch.setattr("web.views.generate.MODELS_SHOWN", 1)
    for path in ("/generate", "/models"):
        page = mine.page(f"{path}?q=NUMBER+0")
        assert "kind number 0" in page.words and "kind number 2" not in page.words
        assert page.field("q")["value"] == "NUMBER 0"
        assert "No model has this in its name" in mine.page(f"{path}?q=%25").words
    assert [one["name"] for one in alice.get("/models?q=number+1").json["items"]] == [
        "kind number 1"
    ]


def test_what_is_being_made_is_a_small_page_of_its_own(mine, things, work, alice):
    job_id = work.generation(alice, model_id=things["model"])["id"]
    for path, part in (("/results", "making"), (f"/models/{things['model']}", "tried")):
        address = f"{path}/{part}?job={job_id}"
        whole, fragment = mine.page(f"{path}?job={job_id}"), mine.page(address)
        assert whole.all("div", id=part) == fragment.all("div", id=part)
        assert whole.all("div", id=part)[0]["data-live-from"] == f"{path}/{part}"
        assert job_id in fragment.text and not fragment.all("html")
    assert mine.get("/results/making?whose=shared").text.count(job_id) == 0


def test_the_start_page_counts_all_datasets_and_shows_texts_beside_pictures(
    mine, things, work, alice, studio
):
    picture = work.artifact(alice, PIXEL)
    with studio.db.writing() as session:
        session.get_one(Artifact, picture).media_type = "image/png"
        for n in range(60):
            values = {"name": "d", "kind": "text", "state": "refused", "created_at": 1.0}
            session.add(Dataset(id=f"d{n}", user_id=alice.user.id, **values))
    page = mine.page("/")
    assert "a poem" in page.words and f"/artifacts/{picture}" in page.text
    known = len(alice.get("/datasets?limit=200").json["items"])
    assert known > 60 and f"{known} datasets here already" in page.words
