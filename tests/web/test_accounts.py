"""Passwords, one-time links, sign-in, sessions and tokens."""

from __future__ import annotations

import re

import pytest
from flask import request
from sqlalchemy import update

from shared.errors import (
    BadSettings,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    TooManyRequests,
    WrongPassword,
)
from shared.models import ApiToken, BrowserSession, User
from web import create_app
from web.security import check_bind, check_sign_in_allowed
from web.services import accounts, tokens

PASSWORD = "correct horse battery"


@pytest.fixture
def admin_with_password(studio):
    path = accounts.first_run_link(studio)
    return accounts.set_password_by_link(studio, path.rsplit("/", 1)[1], PASSWORD)


def csrf_of(page):
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]


def sign_in(client, name, password=PASSWORD):
    token = csrf_of(client.get("/sign-in"))
    return client.post("/sign-in", data={"name": name, "password": password, "csrf_token": token})


def test_a_password_is_kept_as_argon2id(admin_with_password):
    assert admin_with_password.password_hash.startswith("$argon2id$")


def test_the_first_run_link_works_once_and_is_replaced_until_it_was_used(studio):
    first = accounts.first_run_link(studio).rsplit("/", 1)[1]
    second = accounts.first_run_link(studio).rsplit("/", 1)[1]
    with pytest.raises(NotFound):
        accounts.set_password_by_link(studio, first, PASSWORD)
    user = accounts.set_password_by_link(studio, second, PASSWORD)
    assert (user.name, user.role) == ("admin", "admin")
    with pytest.raises(NotFound):
        accounts.set_password_by_link(studio, second, "another password")
    assert accounts.first_run_link(studio) is None


def test_there_is_no_first_run_once_an_admin_has_a_token(studio):
    user = accounts.create_user(studio.db, "root", admin=True)
    assert not accounts.has_admin(studio.db)
    tokens.issue_token(studio.db, user, "cli")
    assert accounts.has_admin(studio.db)
    assert accounts.first_run_link(studio) is None


@pytest.mark.parametrize("name", ["", " a", "a b", "../a", "a\n", "é", "x" * 65])
def test_strange_names_are_refused(studio, name):
    with pytest.raises(InvalidInput):
        accounts.create_user(studio.db, name)


def test_a_name_is_given_once(studio):
    accounts.create_user(studio.db, "ann")
    with pytest.raises(Conflict):
        accounts.create_user(studio.db, "ann")


@pytest.mark.parametrize("password", ["short", "x" * 1025, "with\0nul12", "é" * 600])
def test_bad_passwords_are_refused(studio, password):
    token = accounts.first_run_link(studio).rsplit("/", 1)[1]
    with pytest.raises(InvalidInput):
        accounts.set_password_by_link(studio, token, password)


def test_wrong_passwords_and_unknown_names_look_the_same(studio, admin_with_password):
    errors = []
    for name, password in (("admin", "wrong password"), ("nobody", PASSWORD), ("admin", "x\ud800")):
        with pytest.raises(WrongPassword) as caught:
            accounts.sign_in(studio, name, password, "10.0.0.1")
        errors.append(caught.value.message)
    assert len(set(errors)) == 1


def test_guessing_is_throttled_by_account_and_by_address(studio, admin_with_password, monkeypatch):
    monkeypatch.setattr(accounts, "_fits", lambda stored, password: password == PASSWORD)
    for _ in range(10):
        with pytest.raises(WrongPassword):
            accounts.sign_in(studio, "admin", "wrong", "10.0.0.1")
    with pytest.raises(TooManyRequests):
        accounts.sign_in(studio, "ADMIN", PASSWORD, "10.0.0.1")
    # the owner, elsewhere, is not locked out
    accounts.sign_in(studio, "admin", PASSWORD, "10.0.0.2")
    for n in range(40):
        with pytest.raises(WrongPassword):
            accounts.sign_in(studio, f"user{n}", "wrong", "10.0.0.1")
    with pytest.raises(TooManyRequests):
        accounts.sign_in(studio, "somebody", "wrong", "10.0.0.1")


def test_a_new_password_ends_every_session_and_token(studio, client, admin_with_password):
    sign_in(client, "admin")
    token = tokens.issue_token(studio.db, admin_with_password, "old")["token"]
    accounts.change_password(studio, admin_with_password, PASSWORD, "a new password")
    assert client.get("/api/v1/me").status_code == 401
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/v1/me", headers=headers).status_code == 401
    with pytest.raises(WrongPassword):
        accounts.change_password(studio, admin_with_password, "guess", "another one")


def test_signing_in_changes_the_session_id_and_the_old_cookie_is_dead(
    client, app, admin_with_password
):
    client.get("/sign-in")
    before = client.get_cookie("atelier").value
    assert sign_in(client, "admin").status_code == 303
    after = client.get_cookie("atelier")
    assert after.value != before
    assert after.http_only
    assert after.same_site == "Lax"
    assert client.get("/api/v1/me").json["name"] == "admin"
    thief = app.test_client()
    thief.set_cookie("atelier", before)
    assert thief.get("/api/v1/me").status_code == 401


def test_the_cookie_is_not_in_the_database(client, studio, admin_with_password):
    sign_in(client, "admin")
    secret = client.get_cookie("atelier").value
    with studio.db.reading() as session:
        rows = session.query(BrowserSession).all()
    assert rows
    assert all(secret not in (row.id, str(row.data)) for row in rows)


def test_signing_out_kills_the_cookie_on_the_server(client, app, admin_with_password):
    sign_in(client, "admin")
    stolen = client.get_cookie("atelier").value
    token = csrf_of(client.get("/account"))
    client.post("/sign-out", data={"csrf_token": token})
    thief = app.test_client()
    thief.set_cookie("atelier", stolen)
    assert thief.get("/api/v1/me").status_code == 401


def test_a_deactivated_user_is_refused_at_the_next_request(client, studio, admin_with_password):
    sign_in(client, "admin")
    token = tokens.issue_token(studio.db, admin_with_password, "x")["token"]
    with studio.db.writing() as session:
        session.execute(update(User).values(active=False))
    assert client.get("/api/v1/me").status_code == 401
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/v1/me", headers=headers).status_code == 401
    with pytest.raises(WrongPassword):
        accounts.sign_in(studio, "admin", PASSWORD, "10.0.0.9")


def test_a_session_expires(client, studio, admin_with_password):
    sign_in(client, "admin")
    with studio.db.writing() as session:
        session.execute(update(BrowserSession).values(expires_at=1.0))
    assert client.get("/api/v1/me").status_code == 401


def test_answers_to_a_session_are_not_stored(client, admin_with_password):
    sign_in(client, "admin")
    answer = client.get("/api/v1/me")
    assert "no-store" in answer.headers["Cache-Control"]
    assert "Cookie" in answer.headers["Vary"]


def test_a_token_is_shown_once_and_kept_as_a_hash(alice, studio):
    made = alice.post("/me/tokens", json={"name": "laptop", "expires_days": 3})
    assert made.status_code == 201
    secret = made.json["token"]
    assert re.fullmatch(r"atelier_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", secret)
    listed = alice.get("/me/tokens")
    assert secret not in listed.text
    assert listed.json["items"][0]["prefix"] == made.json["prefix"]
    assert secret.startswith(made.json["prefix"])
    with studio.db.reading() as session:
        assert all(secret not in row.sha256 for row in session.query(ApiToken))


def test_a_revoked_or_expired_token_is_refused(alice, client, studio):
    made = alice.post("/me/tokens", json={"name": "x"}).json
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/api/v1/me", headers=headers).status_code == 200
    assert alice.delete(f"/me/tokens/{made['id']}").status_code == 204
    assert client.get("/api/v1/me", headers=headers).status_code == 401
    assert alice.delete(f"/me/tokens/{made['id']}").status_code == 404
    with studio.db.writing() as session:
        session.execute(update(ApiToken).values(expires_at=1.0))
    assert alice.get("/me").status_code == 401


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer atelier_000000000000_" + "a" * 43, "Bearer é"],
)
def test_what_is_no_token_is_refused(client, header):
    answer = client.get("/api/v1/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_a_token_in_the_query_is_not_looked_at(alice, client):
    for name in ("token", "access_token", "api_key"):
        assert client.get(f"/api/v1/me?{name}={alice.token}").status_code == 401


def test_https_gets_a_host_cookie(make_settings, sqlite_url):
    settings = make_settings(database_url=sqlite_url, public_url="https://studio.example")
    app = create_app(settings, background=False)
    client = app.test_client()
    answer = client.get("/sign-in", base_url="https://studio.example")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-atelier=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert "Strict-Transport-Security" in answer.headers
    app.extensions["atelier"].close()


@pytest.mark.parametrize(
    ("overrides", "host", "allowed"),
    [
        ({}, "localhost:8000", True),
        ({"host": "0.0.0.0"}, "10.0.0.5:8000", False),
        ({"host": "0.0.0.0", "allow_http": True}, "10.0.0.5:8000", True),
        ({"host": "0.0.0.0", "public_url": "https://x.example"}, "x.example", True),
        ({"host": "0.0.0.0", "public_url": "http://x.example"}, "x.example", False),
    ],
)
def test_passwords_do_not_travel_in_clear(make_settings, sqlite_url, overrides, host, allowed):
    settings = make_settings(database_url=sqlite_url, **overrides)
    app = create_app(settings, background=False)
    with app.test_request_context("/sign-in", base_url=f"http://{host}"):
        if allowed:
            check_sign_in_allowed()
        else:
            with pytest.raises(Forbidden):
                check_sign_in_allowed()
    app.extensions["atelier"].close()


def test_a_public_bind_needs_an_admin_and_a_real_secret(make_settings):
    public = make_settings(host="0.0.0.0", secret_key="0123456789abcdef" * 3)
    check_bind(public, has_admin=True)
    with pytest.raises(BadSettings, match="administrator"):
        check_bind(public, has_admin=False)
    with pytest.raises(BadSettings, match="weak"):
        check_bind(make_settings(host="0.0.0.0", secret_key="a" * 40), has_admin=True)
    check_bind(make_settings(), has_admin=False)


@pytest.mark.parametrize(("proxies", "address"), [(0, "127.0.0.1"), (1, "1.2.3.4"), (2, "6.6.6.6")])
def test_the_address_is_that_of_a_header_where_a_proxy_is_trusted(
    make_settings, sqlite_url, proxies, address
):
    """What stands before the last proxies' own entries anybody may have written."""
    settings = make_settings(database_url=sqlite_url, trusted_proxies=proxies)
    app = create_app(settings, background=False)
    asked = []
    app.before_request(lambda: asked.append(request.remote_addr))
    forged = {"X-Forwarded-For": "9.9.9.9, 6.6.6.6, 1.2.3.4"}
    app.test_client().get("/healthz", headers=forged)
    app.extensions["atelier"].close()
    assert asked == [address]
