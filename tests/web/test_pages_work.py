"""Pages: submitting by forms, following a job, looking after data and models. All without JavaScript."""

from __future__ import annotations

from shared.jobs import Lease, fail
from shared.models import Dataset
from tests.web.browsing import Page

# ---- submitting ---------------------------------------------------------------------------------


def test_the_training_form_is_drawn_from_the_schema(mine, things):
    page = mine.page("/train/toy")
    steps = page.field("params.steps")
    assert (steps["value"], steps["min"], steps["max"], steps["step"]) == (
        "100",
        "1",
        "1000000",
        "1",
    )
    assert mine.page("/train/toy?preset=example").field("params.steps")["value"] == "10"
    offered = {one["value"] for one in page.all("input", name="dataset_id")}
    assert things["dataset"] in offered


def test_only_ready_data_of_the_right_kind_is_offered(mine, work, alice):
    for values in ({"kind": "text"}, {"state": "checking"}, {"state": "refused"}):
        work.dataset(alice, **values)
    assert mine.page("/train/toy").all("input", name="dataset_id") == []


def test_submitting_the_form_makes_the_job(mine, things, alice):
    form = {
        "dataset_id": things["dataset"],
        "params.steps": "20",
        "params.rate": "",
        "seed": "7",
        "name": "by form",
        "nonce": "n",
    }
    answer = mine.post("/train/toy", form)
    assert answer.status_code == 303, answer.text
    job = alice.get("/jobs/" + answer.headers["Location"].rsplit("/", 1)[1]).json
    assert (job["kind"], job["family"], job["name"], job["seed"]) == ("train", "toy", "by form", 7)
    assert job["params"] == {"steps": 20, "width": 8, "heads": 2, "rate": 0.1}
    # a double click is one job, a changed form another
    assert mine.post("/train/toy", form).headers["Location"] == answer.headers["Location"]
    changed = mine.post("/train/toy", form | {"params.steps": "21"})
    assert changed.headers["Location"] != answer.headers["Location"]


def test_errors_stand_at_their_field_and_what_was_typed_is_kept(mine, things):
    form = {
        "dataset_id": things["dataset"],
        "params.steps": "1.5",
        "params.width": "0",
        "params.rate": "0.25",
        "seed": "x",
        "name": "kept",
    }
    answer = mine.post("/train/toy", form)
    assert answer.status_code == 422
    page = Page(answer.text)
    assert page.errors == {
        "steps": "Must be a whole number.",
        "width": "Must be at least 1.",
        "seed": "Must be a whole number.",
    }
    values = {name: page.field(name)["value"] for name in ("params.steps", "params.rate", "name")}
    assert values == {"params.steps": "1.5", "params.rate": "0.25", "name": "kept"}
    assert page.field("params.steps")["aria-invalid"] == "true"


def test_what_only_the_service_can_know_stands_at_its_field_too(mine, things, work, alice):
    form = {"dataset_id": things["dataset"], "params.width": "9"}
    assert Page(mine.post("/train/toy", form).text).errors == {
        "width": "Must be a multiple of heads."
    }
    coloured = work.dataset(alice, facts={"items": 10, "channels": 3})
    page = Page(mine.post("/train/toy", {"dataset_id": coloured}).text)
    assert page.errors == {"dataset_id": "The pictures must be grey."}
    assert Page(mine.post("/train/toy", {}).text).errors == {"dataset_id": "Is required."}


def test_what_belongs_to_no_field_is_said_above_the_form(mine, things, limits):
    limits(max_job_seconds=60)
    form = {"dataset_id": things["dataset"], "params.steps": "1000000", "params.width": "4096"}
    answer = mine.post("/train/toy", form)
    assert answer.status_code == 422
    assert "It would take about" in Page(answer.text).words


def test_somebody_elses_data_is_refused_at_its_field(theirs, things):
    answer = theirs.post("/train/toy", {"dataset_id": things["dataset"]})
    assert answer.status_code == 404
    assert "dataset_id" in Page(answer.text).errors


def test_generating_by_form_follows_the_models_own_schema(mine, things, alice):
    path = f"/generate/{things['model']}"
    assert mine.page(path).field("params.count")["max"] == "8"
    assert mine.page(path + "?preset=example").field("params.count")["value"] == "2"
    answer = mine.post(path, {"params.count": "9"})
    assert Page(answer.text).errors == {"count": "Must be at most 8."}
    answer = mine.post(path, {"params.count": "3", "params.prompt": "line\r\nline"})
    job = alice.get("/jobs/" + answer.headers["Location"].rsplit("/", 1)[1]).json
    assert job["params"]["prompt"] == "line\nline"


def test_a_picture_can_be_chosen_by_card_or_by_id(mine, things, alice, work):
    model, dataset_id = things["model"], alice.get(f"/models/{things['model']}").json["dataset_id"]
    page = mine.page(f"/generate/{model}")
    cards = {one["value"] for one in page.all("input", name="params.source")}
    assert f"{dataset_id}:0" in cards
    for form in ({"params.source": f"{dataset_id}:0"}, {"params.source.id": f"{dataset_id}:0"}):
        answer = mine.post(f"/generate/{model}", form)
        job = alice.get("/jobs/" + answer.headers["Location"].rsplit("/", 1)[1]).json
        assert job["params"]["source"] == f"{dataset_id}:0"
    for wrong in ("/proc/self/environ", "file:///etc/passwd", things["artifact"]):
        answer = mine.post(f"/generate/{model}", {"params.source.id": wrong})
        assert list(Page(answer.text).errors) == ["source"], wrong
        assert Page(answer.text).field("params.source.id")["value"] == wrong


# ---- following a job ----------------------------------------------------------------------------


def test_a_job_page_renews_itself_until_the_job_has_ended(mine, work, alice):
    job_id = work.training(alice)["id"]

    def renews():
        return mine.page(f"/jobs/{job_id}").all("meta", **{"http-equiv": "refresh"})

    assert renews()
    assert not mine.page(f"/jobs/{job_id}?still=1").all("meta", **{"http-equiv": "refresh"})
    (job,) = work.claim()
    points = [
        [step, step / 10, {"loss": 3 / step, "validation_loss": 4 / step}] for step in (1, 50)
    ]
    work.report(job, step=50, total=100, points=points, log="half way\n")
    page = mine.page(f"/jobs/{job_id}")
    assert renews()
    assert page.all("progress")[0]["value"] == "0.5000"
    assert "50 of 100" in page.words
    assert "half way" in page.words
    assert "validation loss" in page.words
    assert len(page.all("svg", **{"class": "curve"})) == 1
    work.succeed(job, model=True)
    assert not renews()
    assert "Open the model" in mine.page(f"/jobs/{job_id}").words


def test_the_buttons_of_a_job_do_what_they_say(mine, work, alice):
    job_id = work.training(alice)["id"]

    def state():
        return alice.get(f"/jobs/{job_id}").json

    assert mine.post(f"/jobs/{job_id}/pause").status_code == 303
    assert state()["paused"]
    assert "You paused it" in mine.page(f"/jobs/{job_id}").words
    assert mine.post(f"/jobs/{job_id}/resume").status_code == 303
    assert not state()["paused"]
    assert mine.post(f"/jobs/{job_id}/cancel").status_code == 303
    assert state()["state"] == "cancelled"
    again = mine.post(f"/jobs/{job_id}/retry").headers["Location"]
    assert again != f"/jobs/{job_id}"
    assert mine.post(f"/jobs/{job_id}/delete").status_code == 303
    assert mine.get(f"/jobs/{job_id}").status_code == 404


def test_a_button_pressed_too_late_says_so(mine, work, alice):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    work.succeed(job)
    assert mine.post(f"/jobs/{job_id}/cancel").status_code == 303
    assert "succeeded already" in mine.page(f"/jobs/{job_id}").words


def test_a_failed_job_says_why_in_words_and_with_its_code(mine, work, alice, studio):
    job_id = work.training(alice)["id"]
    (job,) = work.claim()
    with studio.db.writing() as session:
        fail(session, Lease(job.id, job.fence), "oom", "No room for a batch of 4,096.")
    words = mine.page(f"/jobs/{job_id}").words
    assert "too little memory" in words
    assert "No room for a batch of 4,096." in words
    assert "oom" in words


def test_text_results_are_shown_and_can_be_fetched(mine, things):
    page = mine.page(f"/artifacts/{things['artifact']}")
    assert "a poem" in page.words
    (download,) = [one for one in page.all("a") if "download" in one]
    with mine.client.get(download["href"]) as answer:
        assert answer.data == b"a poem\nin two lines"


def test_jobs_are_filtered_and_paged(mine, work, alice):
    dataset_id = work.dataset(alice)
    for n in range(52):
        work.training(alice, name=f"number {n:02}", dataset_id=dataset_id)
    page = mine.page("/jobs?state=queued")
    assert "number 51" in page.words
    assert "number 00" not in page.words
    (older,) = page.all("a", rel="next")
    assert older["href"].startswith("/jobs?state=queued&after=")
    assert "number 00" in mine.page(older["href"]).words
    assert "Nothing fits" in mine.page("/jobs?q=nonsense").words
    assert "number 07" in mine.page("/jobs?q=number+07").words


def test_a_strange_filter_is_refused_in_words(mine):
    answer = mine.get("/jobs?after=../../x")
    assert answer.status_code == 422
    assert "after" in Page(answer.text).words


# ---- datasets and models ------------------------------------------------------------------------


def test_files_are_uploaded_by_form(mine, alice, tmp_path):
    (tmp_path / "a.txt").write_text("words " * 100)
    (tmp_path / "b.txt").write_text("more words " * 100)
    with (tmp_path / "a.txt").open("rb") as a, (tmp_path / "b.txt").open("rb") as b:
        form = {"name": "my words", "kind": "text", "file": [(a, "a.txt"), (b, "b.txt")]}
        answer = mine.post("/datasets", form)
    assert answer.status_code == 303, answer.text
    found = alice.get(answer.headers["Location"]).json
    assert (found["name"], found["state"], found["kind"]) == ("my words", "checking", "text")
    page = mine.page(answer.headers["Location"])
    assert page.all("meta", **{"http-equiv": "refresh"})


def test_an_upload_without_files_is_said_at_its_field(mine):
    answer = mine.post("/datasets", {"name": "kept"})
    assert answer.status_code == 422
    page = Page(answer.text)
    assert list(page.errors) == ["file"]
    assert page.field("name")["value"] == "kept"


def test_a_sample_is_added_by_one_button(mine, alice):
    answer = mine.post("/datasets/samples", {"sample": "python-docs"})
    assert alice.get(answer.headers["Location"]).json["source"] == "sample:python-docs"
    assert mine.post("/datasets/samples", {"sample": "nonsense"}).status_code == 422


def test_problems_are_told_per_file(mine, work, alice):
    problems = {"files": [{"name": "b.png", "message": "is no picture"}]}
    dataset_id = work.dataset(alice, state="refused", problems=problems)
    words = mine.page(f"/datasets/{dataset_id}").words
    assert "b.png" in words
    assert "is no picture" in words


def test_deleting_what_is_needed_asks_once_more(mine, things, alice):
    path = f"/models/{things['model']}/delete"
    mine.post(f"/generate/{things['model']}", {})
    answer = mine.post(path)
    assert answer.status_code == 409
    assert "Accepted jobs need this model." in Page(answer.text).words
    assert mine.post(path, {"force": "1"}).status_code == 303
    assert mine.get(f"/models/{things['model']}").status_code == 404


def test_a_model_is_renamed_and_shared_by_its_owner(mine, theirs, things):
    path = f"/models/{things['model']}"
    assert mine.post(path, {"name": "better name"}).status_code == 303
    assert mine.post(path, {"visibility": "shared"}).status_code == 303
    page = theirs.page(path)
    assert "better name" in page.words
    assert "Stop sharing" not in page.words
    assert theirs.post(f"{path}/delete").status_code == 404
    assert "name" in Page(mine.post(path, {"name": ""}).text).errors


def test_one_click_trains_on_the_sample(mine, toy, alice, studio, monkeypatch):
    monkeypatch.setattr("web.views.home.LONGEST_CHECK", 0.0)
    answer = mine.post("/sample")
    # no worker checks it here, so it leads to the data; with a checked one it leads to the job
    assert answer.headers["Location"].startswith("/datasets/")
    dataset_id = answer.headers["Location"].rsplit("/", 1)[1]
    with studio.db.writing() as session:
        row = session.get(Dataset, dataset_id)
        row.state, row.facts = "ready", {"items": 1797, "channels": 1}
    answer = mine.post("/sample")
    job = alice.get("/jobs/" + answer.headers["Location"].rsplit("/", 1)[1]).json
    assert (job["dataset_id"], job["params"]["steps"]) == (dataset_id, 10)
