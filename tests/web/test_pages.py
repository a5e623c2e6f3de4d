"""Pages: who sees them, signing in, the account. All without JavaScript."""

from __future__ import annotations

import re

import pytest

from shared.models import Job
from tests.web.browsing import PLAIN_PAGES, Browser, Page, own_pages
from web.services import accounts

PASSWORD = "correct horse battery"


# ---- who sees what ------------------------------------------------------------------------------


def test_each_page_opens_for_its_owner(mine, things):
    for path in PLAIN_PAGES + own_pages(things):
        assert mine.get(path).status_code == 200, path


def test_each_page_opens_for_somebody_who_has_nothing(theirs, toy):
    for path in PLAIN_PAGES:
        assert theirs.get(path).status_code == 200, path


def test_what_is_somebody_elses_is_not_there(theirs, things):
    for path in own_pages(things):
        answer = theirs.get(path)
        assert answer.status_code == 404, path
        assert "nothing here" in answer.text


def test_forms_about_what_is_somebody_elses_change_nothing(theirs, things, studio):
    job, model = things["job"], things["model"]
    posts = [
        *[f"/jobs/{job}/{verb}" for verb in ("cancel", "pause", "resume", "retry", "delete")],
        f"/models/{model}",
        f"/models/{model}/delete",
        f"/generate/{model}",
        f"/datasets/{things['dataset']}/delete",
        f"/artifacts/{things['artifact']}/delete",
        "/account/tokens/nonsense/revoke",
        "/account/sessions/nonsense/revoke",
        *[f"/account/webhooks/{things['webhook']}/{verb}" for verb in ("off", "secret", "delete")],
    ]
    for path in posts:
        assert theirs.post(path, {"name": "stolen"}).status_code == 404, path
    with studio.db.reading() as session:
        assert session.get(Job, job).state == "queued"


def test_a_stranger_is_sent_to_sign_in_and_back(app, things):
    stranger = Browser(app)
    for path in PLAIN_PAGES + own_pages(things):
        answer = stranger.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["Location"] == f"/sign-in?next={path}"


def test_no_form_is_taken_without_its_token(app, mine, things):
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("pages.")]
    posts = [rule for rule in rules if "POST" in rule.methods]
    assert len(posts) > 15
    for rule in posts:
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        answer = mine.client.post(path, data={"name": "x"}, headers={"Accept": "text/html"})
        assert answer.status_code in (400, 403), path


def test_a_form_from_another_site_is_refused(mine, things):
    form = {"csrf_token": mine.token()}
    headers = {"Accept": "text/html", "Origin": "https://evil.example"}
    answer = mine.client.post(f"/jobs/{things['job']}/cancel", data=form, headers=headers)
    assert answer.status_code == 403


# ---- signing in ---------------------------------------------------------------------------------


def test_the_first_run_link_sets_the_password_and_signs_in(app, studio):
    path = accounts.first_run_link(studio)
    browser = Browser(app)
    form = {"password": PASSWORD, "again": PASSWORD, "csrf_token": browser.token(path)}
    assert browser.client.post(path, data=form).status_code == 303
    # nothing was flashed or drawn yet in this session: an empty session is a session
    assert browser.get("/account").status_code == 200
    assert Browser(app).get(path).status_code == 404


@pytest.mark.parametrize(
    ("password", "again", "field"),
    [("short", "short", "password"), (PASSWORD, "other", "again")],
)
def test_a_bad_first_password_is_said_at_its_field(app, studio, password, again, field):
    path = accounts.first_run_link(studio)
    browser = Browser(app)
    form = {"password": password, "again": again, "csrf_token": browser.token(path)}
    answer = browser.client.post(path, data=form)
    assert answer.status_code == 422
    assert field in Page(answer.text).errors
    assert password not in answer.text


@pytest.fixture
def admin(studio):
    token = accounts.first_run_link(studio).rsplit("/", 1)[1]
    return accounts.set_password_by_link(studio, token, PASSWORD)


def sign_in(browser, **form):
    form = {"name": "admin", "password": PASSWORD, "csrf_token": browser.token("/sign-in")} | form
    return browser.client.post("/sign-in", data=form, headers={"Accept": "text/html"})


def test_signing_in_and_out(app, admin):
    browser = Browser(app)
    assert sign_in(browser, next="/jobs?state=failed").headers["Location"] == "/jobs?state=failed"
    assert browser.get("/jobs").status_code == 200
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/jobs").status_code == 303


def test_a_wrong_password_is_said_and_the_name_is_kept(app, admin):
    answer = sign_in(Browser(app), password="wrong")
    assert answer.status_code == 401
    assert "wrong" in answer.text
    assert Page(answer.text).field("name")["value"] == "admin"


@pytest.mark.parametrize(
    "onward",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:x",
        "/\n/x",
    ],
)
def test_signing_in_leads_nowhere_else(app, admin, onward):
    assert sign_in(Browser(app), next=onward).headers["Location"] == "/"


def test_changing_the_password_keeps_this_browser_only(app, admin):
    first, second = Browser(app, admin), Browser(app, admin)
    form = {"old": PASSWORD, "password": "another one", "again": "another one"}
    assert first.post("/account/password", form).status_code == 303
    assert first.get("/account").status_code == 200
    assert second.get("/account").status_code == 303


def test_a_wrong_present_password_is_said_at_its_field(app, admin):
    form = {"old": "wrong", "password": "another one", "again": "another one"}
    answer = Browser(app, admin).post("/account/password", form)
    assert (answer.status_code, list(Page(answer.text).errors)) == (422, ["old"])


def test_a_token_is_shown_once_and_can_be_revoked(mine):
    answer = mine.post("/account/tokens", {"name": "laptop", "expires_days": "30"})
    # in words, and for the button that copies it
    (secret,) = set(re.findall(r"atelier_[0-9a-f]{12}_[\w-]{43}", answer.text))
    assert secret not in mine.get("/account").text
    headers = {"Authorization": f"Bearer {secret}"}
    assert mine.app.test_client().get("/api/v1/me", headers=headers).status_code == 200
    revoke = re.search(r"/account/tokens/\w+/revoke", mine.get("/account").text)[0]
    assert mine.post(revoke).status_code == 303
    assert mine.app.test_client().get("/api/v1/me", headers=headers).status_code == 401


@pytest.mark.parametrize("days", ["0", "1.5", "many", "99999"])
def test_a_bad_expiry_is_said_at_its_field(mine, days):
    answer = mine.post("/account/tokens", {"name": "laptop", "expires_days": days})
    assert answer.status_code == 422
    assert list(Page(answer.text).errors) == ["expires_days"]
    assert Page(answer.text).field("expires_days")["value"] == days


def test_another_browser_can_be_signed_out(app, alice, mine):
    other = Browser(app, alice.user)
    (revoke,) = re.findall(r"/account/sessions/\w+/revoke", mine.get("/account").text)
    assert mine.post(revoke).status_code == 303
    assert other.get("/").status_code == 303
    assert mine.get("/").status_code == 200
