"""CSRF, origins, hosts, headers, bodies, and what errors look like."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy.exc import OperationalError

from shared.errors import NotFound
from tests.web.conftest import API
from web import create_app
from web.services import accounts

PASSWORD = "correct horse battery"


@pytest.fixture
def browser(client, studio):
    """A signed-in browser and its CSRF token."""
    path = accounts.first_run_link(studio)
    page = client.get(path)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
    data = {"password": PASSWORD, "again": PASSWORD, "csrf_token": token}
    assert client.post(path, data=data).status_code == 303
    page = client.get("/account")
    client.csrf = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
    return client


def make_token(browser, headers=None, **options):
    options.setdefault("json", {"name": "x"})
    return browser.post(API + "/me/tokens", headers=headers or {}, **options)


def test_a_cookie_alone_changes_nothing(browser):
    answer = make_token(browser)
    assert answer.status_code in (400, 403)
    assert browser.get(API + "/me/tokens").json["items"] == []


def test_a_cookie_with_its_csrf_token_does(browser):
    assert make_token(browser, {"X-CSRFToken": browser.csrf}).status_code == 201


def test_the_csrf_token_of_another_session_is_refused(browser, app):
    other = app.test_client()
    page = other.get("/sign-in")
    foreign = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
    assert make_token(browser, {"X-CSRFToken": foreign}).status_code in (400, 403)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil"])
def test_another_origin_is_refused(browser, origin):
    headers = {"X-CSRFToken": browser.csrf, "Origin": origin}
    assert make_token(browser, headers).status_code == 403


def test_the_own_origin_is_allowed(browser):
    headers = {"X-CSRFToken": browser.csrf, "Origin": "http://localhost"}
    assert make_token(browser, headers).status_code == 201


def test_a_cross_site_fetch_is_refused(browser):
    headers = {"X-CSRFToken": browser.csrf, "Sec-Fetch-Site": "cross-site"}
    assert make_token(browser, headers).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_form_of_another_page_cannot_pretend_to_be_json(browser, kind):
    headers = {"X-CSRFToken": browser.csrf}
    answer = make_token(browser, headers, json=None, data='{"name": "x"}', content_type=kind)
    assert answer.status_code == 415


def test_forms_need_a_csrf_token(browser):
    assert browser.post("/sign-out").status_code in (400, 403)
    assert browser.get(API + "/me").status_code == 200


def test_signing_in_needs_a_csrf_token_too(client):
    answer = client.post("/sign-in", data={"name": "a", "password": "b"})
    assert answer.status_code in (400, 403)


def test_a_token_needs_no_csrf_token(alice):
    assert alice.post("/me/tokens", json={"name": "x"}).status_code == 201


def test_a_token_in_a_request_hides_the_cookie(browser, alice):
    answer = browser.get(API + "/me", headers={"Authorization": f"Bearer {alice.token}"})
    assert answer.json["name"] == "alice"


def test_no_other_origin_may_read(alice):
    answer = alice.get("/me", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/sign-in", "/healthz", "/api/v1/me", "/nothing", "/static/app.css"]
)
def test_every_answer_carries_the_headers(client, path):
    headers = client.get(path, buffered=True).headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("overrides", "host", "status"),
    [
        ({}, "localhost", 200),
        ({}, "127.0.0.1:9999", 200),
        ({}, "[::1]:8000", 200),
        ({}, "rebound.evil", 400),
        ({"host": "0.0.0.0"}, "10.1.2.3", 200),
        ({"host": "0.0.0.0"}, "[fd00::5]:8000", 200),
        ({"host": "0.0.0.0"}, "gpu-box", 200),
        ({"host": "0.0.0.0"}, "gpu-box.local", 200),
        ({"host": "0.0.0.0"}, "rebound.evil", 400),
        ({"host": "0.0.0.0"}, "lan.evil", 400),
        ({"public_url": "https://x.example"}, "x.example", 200),
        ({"public_url": "https://x.example"}, "localhost", 200),
        ({"public_url": "https://x.example", "host": "0.0.0.0"}, "y.example", 400),
    ],
)
def test_an_unknown_host_is_refused(make_settings, sqlite_url, overrides, host, status):
    app = create_app(make_settings(database_url=sqlite_url, **overrides), background=False)
    assert app.test_client().get("/readyz", headers={"Host": host}).status_code == status
    app.extensions["atelier"].close()


# ---- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"kind": NaN}', 400),
        (b'{"kind": Infinity}', 400),
        (b'{"kind": "train", "kind": "train"}', 400),
        (b'{"seed": 1e400}', 422),
        (b'{"seed": ' + b"9" * 5000 + b"}", 422),
        (b"[" * 100_000, 400),
        (b'{"params":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b'{"name": "\\ud800", "kind": "train"}', 422),
    ],
)
def test_what_is_no_proper_json_is_refused(alice, body, status):
    answer = alice.post("/jobs", data=body, content_type="application/json")
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert json.loads(answer.data)["status"] == status


def test_a_body_over_the_limit_is_too_large(alice, settings):
    body = b'{"name": "' + b"x" * settings.max_body_bytes + b'"}'
    answer = alice.post("/jobs", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


def test_other_media_types_are_refused(alice):
    answer = alice.post("/jobs", data="kind=train", content_type="text/plain")
    assert answer.status_code == 415


# ---- errors ----------------------------------------------------------------------------------------


def test_a_problem_has_one_shape(alice):
    answer = alice.get("/jobs/nothing")
    assert answer.mimetype == "application/problem+json"
    assert set(answer.json) == {"type", "title", "status", "detail", "code", "request_id"}
    assert answer.json["status"] == answer.status_code == NotFound.status
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


def test_a_wrong_method_says_which_are_right(alice):
    answer = alice.put("/jobs")
    assert answer.status_code == 405
    assert answer.mimetype == "application/problem+json"
    assert "POST" in answer.headers["Allow"]


def test_a_browser_gets_a_page_and_is_sent_to_sign_in(client):
    html = {"Accept": "text/html"}
    assert "<h1>" in client.get("/nothing", headers=html).text
    answer = client.get("/account?x=1", headers=html)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/sign-in?next=/account?x%3D1"


def test_an_unknown_error_tells_nothing_but_its_id(app, alice, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret detail in /srv/path")

    monkeypatch.setattr("web.services.queue.get_me", broken)
    answer = alice.get("/me")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.json["code"] == "internal"
    assert answer.json["request_id"]
    assert "secret detail" in caplog.text


def test_a_database_that_is_away_is_503_with_retry_after(alice, monkeypatch):
    def away(*_):
        raise OperationalError("SELECT 1", {}, Exception("database is locked"))

    monkeypatch.setattr("web.services.queue.get_me", away)
    answer = alice.get("/me")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"]


def test_a_session_that_cannot_be_read_is_503_too(browser, studio, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def away(self):
        raise OperationalError("SELECT 1", {}, Exception("gone"))
        yield

    monkeypatch.setattr(type(studio.db), "reading", away)
    assert browser.get(API + "/me").status_code == 503
    assert browser.get("/readyz").status_code == 503
    assert browser.get("/healthz").status_code == 200


def test_a_session_that_cannot_be_written_is_503_too(client, studio, monkeypatch):
    def away(self):
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    monkeypatch.setattr(type(studio.db), "writing", away)
    assert client.get("/sign-in").status_code == 503


def test_ready_says_what_there_is(client, toy):
    assert client.get("/readyz").json == {"families": 1, "workers": 0}


def assert_not_ready(settings):
    app = create_app(settings, background=False)
    assert app.test_client().get("/readyz").status_code == 503
    app.extensions["atelier"].close()


def test_an_empty_database_is_not_ready(make_settings, tmp_path, postgres):
    assert_not_ready(make_settings(database_url=f"sqlite:///{tmp_path}/empty.db"))
    assert_not_ready(make_settings(database_url=postgres.url("postgres")))


def test_a_database_that_others_hold_locked_is_503(
    make_settings, sqlite_url, alice, work, monkeypatch
):
    monkeypatch.setattr("shared.db.BUSY_MILLISECONDS", 50)
    app = create_app(make_settings(database_url=sqlite_url), background=False)
    alice.client = app.test_client()
    body = {"kind": "train", "family": "toy", "dataset_id": work.dataset(alice)}
    with work.studio.db.writing():
        answer = alice.post("/jobs", json=body)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert alice.post("/jobs", json=body).status_code == 202
    app.extensions["atelier"].close()


def test_a_server_starts_while_its_database_is_away(make_settings):
    settings = make_settings(database_url="postgresql://nobody@127.0.0.1:1/nothing")
    app = create_app(settings, background=False)
    client = app.test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    headers = {"Authorization": "Bearer atelier_000000000000_" + "a" * 43}
    assert client.get(API + "/me", headers=headers).status_code == 503
    app.extensions["atelier"].close()


def test_a_request_is_logged_without_what_it_held(alice, client, caplog):
    caplog.set_level("INFO")
    client.get("/welcome/very-secret-link")
    alice.get("/jobs?q=private-words")
    text = caplog.text
    assert "GET /welcome/<token> 404" in text
    assert "very-secret-link" not in text
    assert "private-words" not in text
    assert alice.token not in text
