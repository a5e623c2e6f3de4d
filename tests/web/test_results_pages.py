"""The gallery, the viewer and the comparison as plain forms, without a script."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.web.browsing import Page
from web.views.comparing import differing, marked


def a_model(person, work):
    """A model, without the file that the tests' training leaves."""
    before = {one["id"] for one in person.get("/artifacts").json["items"]}
    model_id = work.model(person)
    for one in person.get("/artifacts").json["items"]:
        if one["id"] not in before:
            assert person.delete(f"/artifacts/{one['id']}").status_code == 204
    return model_id


@pytest.fixture
def made(alice, work):
    """Three texts of Alice's, as the gallery shows them."""
    model_id = a_model(alice, work)
    params = {"prompt": "a rose is", "count": 3}
    job_id = work.generation(alice, model_id=model_id, params=params, seed=11)["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, (b"one rose", b"two roses", "三朵玫瑰".encode()))
    return [one["id"] for one in alice.get("/artifacts").json["items"]]


def shown(page: Page) -> list[str]:
    return [tag["data-result"] for tag in page.all("li") if tag.get("data-result")]


def test_the_gallery_shows_pages_of_results_and_keeps_its_filters(mine, made, monkeypatch):
    monkeypatch.setattr("web.views.results.PAGE_SIZE", 2)
    page = mine.page("/results?q=rose&media=&family=&starred=")
    assert shown(page) == made[:2]
    assert "two roses" in page.words
    (more,) = page.all("a", rel="next")
    assert "q=rose" in more["href"]
    rest = mine.page(more["href"])
    assert shown(rest) == made[2:]
    assert "三朵玫瑰" in rest.words
    assert shown(mine.page("/results?q=tulip")) == []
    assert "Nothing is like that" in mine.page("/results?q=tulip").words
    assert mine.get("/results?media=sound").status_code == 422


def test_every_form_of_the_gallery_works_without_a_script(mine, theirs, alice, made):
    def send(action: str, *ids: str, **more: str):
        return mine.post("/results/selected", {"action": action, "id": list(ids), **more})

    assert send("star", *made[:2]).status_code == 303
    assert shown(mine.page("/results?starred=1")) == made[:2]
    assert send("tag", made[0], tag="红, spring", **{"f.starred": "1"}).location.endswith(
        "starred=1"
    )
    assert alice.get(f"/artifacts/{made[0]}").json["tags"] == ["spring", "红"]
    assert shown(mine.page("/results?tag=spring")) == made[:1]
    send("untag", made[0], tag="spring")
    assert alice.get(f"/artifacts/{made[0]}").json["tags"] == ["红"]
    send("unstar", made[1])
    assert shown(mine.page("/results?starred=1")) == made[:1]

    send("share", *made[1:])
    assert shown(theirs.page("/results?whose=shared")) == made[1:]
    theirs.page(f"/artifacts/{made[1]}")
    send("unshare", *made[1:])
    assert shown(theirs.page("/results?whose=shared")) == []
    assert theirs.get(f"/artifacts/{made[1]}").status_code == 404

    answer = send("download", *made)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        assert len(found.namelist()) == 4
    assert send("compare", *made[:2]).location.endswith(f"/results/compare?a={made[0]}&b={made[1]}")
    assert send("delete", made[0]).status_code == 303
    assert shown(mine.page("/results")) == made[1:]
    for nothing in (
        send("star"),
        send("tag", made[1]),
        send("dance", made[1]),
        send("compare", made[1]),
    ):
        assert nothing.status_code == 303
    theirs.post("/results/selected", {"action": "delete", "id": made[1:]})
    assert "None of these results is here" in theirs.says()
    assert shown(mine.page("/results")) == made[1:]


def test_what_a_waiting_job_reads_is_deleted_only_when_asked_twice(mine, alice, work, made, studio):
    from shared.models import Artifact

    with studio.db.writing() as session:
        session.get_one(Artifact, made[0]).media_type = "image/png"
    job = work.generation(alice, model_id=a_model(alice, work), params={"source": made[0]})
    answer = mine.post("/results/selected", {"action": "delete", "id": made[:2]})
    assert answer.status_code == 409
    page = Page(answer.text)
    assert f"/jobs/{job['id']}" in answer.text
    fields = {one["name"]: one["value"] for one in page.all("input", type="hidden")}
    assert fields["id"] == made[0]
    assert shown(mine.page("/results")) == [made[0], made[2]]
    again = mine.post(
        "/results/selected", {name: fields[name] for name in ("action", "id", "force")}
    )
    assert again.status_code == 303
    assert shown(mine.page("/results")) == made[2:]


def test_the_viewer_says_all_and_leads_on(mine, made):
    page = mine.page(f"/artifacts/{made[1]}?q=rose")
    assert "two roses" in page.words
    assert "a rose is" in page.words
    (newer,), (older,) = page.all("a", rel="prev"), page.all("a", rel="next")
    assert newer["href"] == f"/artifacts/{made[0]}?q=rose"
    assert older["href"] == f"/artifacts/{made[2]}?q=rose"
    assert page.all("button", **{"data-copy": "11"})
    assert not mine.page(f"/artifacts/{made[2]}").all("a", rel="next")


def test_star_tags_and_sharing_from_the_viewer(mine, theirs, alice, made):
    path = f"/artifacts/{made[0]}"
    for form in ({"starred": "1"}, {"tags": "a, b"}, {"visibility": "shared"}):
        assert mine.post(path, form).status_code == 303
    found = alice.get(path).json
    assert (found["starred"], found["tags"], found["visibility"]) == (True, ["a", "b"], "shared")
    page = theirs.page(path)
    assert "Stop sharing" not in page.words
    assert "Delete" not in page.words
    assert theirs.post(path, {"starred": "1"}).status_code == 303
    assert theirs.post(path, {"visibility": "private"}).status_code == 404
    assert mine.post(path, {"tags": "x" * 41}).status_code == 303
    assert "This is no tag" in mine.says()
    assert mine.post(path, {"visibility": "private"}).status_code == 303
    assert theirs.get(path).status_code == 404


def test_parameters_and_seed_of_a_result_fill_the_form(mine, alice, made):
    page = mine.page(f"/artifacts/{made[0]}")
    links = {tag["data-key"]: tag["href"] for tag in page.all("a") if tag.get("data-key")}
    form = mine.page(links["r"])
    assert form.field("params.count")["value"] == "3"
    assert "a rose is" in (form.field("params.prompt").get("value") or form.words)
    assert form.field("seed")["value"] == ""
    form = mine.page(links["s"])
    assert form.field("seed")["value"] == "11"
    assert form.field("params.count")["value"] == "1"


def test_two_texts_are_compared_word_by_word(mine, made):
    page = mine.page(f"/results/compare?a={made[0]}&b={made[1]}")
    assert len(page.all("mark", **{"class": "gone"})) == 2
    assert len(page.all("mark", **{"class": "come"})) == 2
    assert mine.get(f"/results/compare?a={made[0]}&b=nobody").status_code == 404
    assert mine.get("/results/compare").status_code == 404


def test_words_and_characters_that_differ_are_marked():
    one, two = marked("the red rose", "the blue rose")
    assert one == [(False, "the "), (True, "red"), (False, " rose")]
    assert two == [(False, "the "), (True, "blue"), (False, " rose")]
    assert marked("一朵红花", "一朵蓝花")[1] == [(False, "一朵"), (True, "蓝"), (False, "花")]
    assert marked("", "a") == ([], [(True, "a")])


def test_parameters_that_differ_come_first():
    a = {"family": "vae", "seed": 1, "params": {"count": 1, "prompt": "x"}}
    b = {"family": "vae", "seed": 2, "params": {"count": 1}}
    rows = differing(a, b)
    assert [name for name, _, _, differs in rows if differs] == ["seed", "prompt"]
    assert rows[:2] == [("seed", 1, 2, True), ("prompt", "x", None, True)]


def test_a_thumbnail_is_kept_by_its_owner_and_asked_for_by_others(mine, alice, bob, made, studio):
    from shared.models import Artifact

    path = f"/artifacts/{made[0]}/thumbnail?size=256"
    assert alice.get(path).status_code == 404  # a text has none
    with studio.db.writing() as session:
        session.get_one(Artifact, made[0]).media_type = "image/png"
    own = alice.get(path)
    assert own.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert own.headers["ETag"]
    assert bob.get(path).status_code == 404
    alice.patch(f"/artifacts/{made[0]}", json={"visibility": "shared"})
    assert bob.get(path).headers["Cache-Control"] == "private, no-cache"
    assert 'loading="lazy"' in mine.get("/results").text
