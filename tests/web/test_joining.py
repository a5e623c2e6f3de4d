"""Sign-up: closed, by invitation, open."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from shared.models import Invitation, User
from tests.web.browsing import Browser
from web import create_app
from web.services import accounts

PASSWORD = "correct horse battery"


@pytest.fixture
def sign_up():
    """How it is here; a test says parametrize("sign_up", [...])."""
    return "invite"


@pytest.fixture
def settings(make_settings, database_url, sign_up):
    return make_settings(database_url=database_url, sign_up=sign_up)


@pytest.fixture
def root(person):
    return person("root", admin=True)


@pytest.fixture
def invited(root):
    """The path of a new invitation."""

    def make(**values):
        answer = root.post("/invitations", json=values)
        assert answer.status_code == 201, answer.text
        return answer.json["link"].removeprefix("http://localhost")

    return make


def join(app, path, name="carl", password=PASSWORD, again=None):
    browser = Browser(app)
    form = {"name": name, "password": password, "again": again or password}
    found = browser.get(path)
    if found.status_code != 200:
        return found, browser
    return browser.post(path, form, page=path), browser


def test_a_guest_makes_an_account_and_is_signed_in(app, invited, root):
    answer, browser = join(app, invited(note="for Carl"))
    assert answer.status_code == 303
    assert "carl" in browser.get("/account").text
    assert [row["action"] for row in root.get("/audit?limit=1").json["items"]] == ["sign_up"]
    assert root.get("/users").json["items"][0]["role"] == "user"


def test_an_invitation_is_good_for_as_many_as_it_says(app, invited, root):
    path = invited(uses=2)
    assert join(app, path, "one")[0].status_code == 303
    assert join(app, path, "two")[0].status_code == 303
    assert join(app, path, "three")[0].status_code == 404
    listed = root.get("/invitations").json["items"][0]
    assert (listed["used"], listed["uses"]) == (2, 2)


def test_what_goes_wrong_uses_nothing_up(app, invited, root):
    path = invited()
    for form, status, field in (
        ({"name": "root"}, 409, "name"),
        ({"name": "a b"}, 422, "name"),
        ({"password": "short"}, 422, "password"),
        ({"again": "something else"}, 422, "again"),
    ):
        answer, _ = join(app, path, **form)
        assert answer.status_code == status, form
        assert f'id="f-{field}-error"' in answer.text
        assert PASSWORD not in answer.text
    assert join(app, path)[0].status_code == 303


def test_a_revoked_or_old_invitation_is_not_there(app, invited, root, studio):
    path = invited()
    [row] = root.get("/invitations").json["items"]
    assert root.delete(f"/invitations/{row['id']}").status_code == 204
    assert root.delete(f"/invitations/{row['id']}").status_code == 404
    assert root.get("/invitations").json["items"] == []
    assert join(app, path)[0].status_code == 404
    path = invited()
    with studio.db.writing() as session:
        session.execute(update(Invitation).values(expires_at=1.0))
    assert join(app, path)[0].status_code == 404


def test_the_secret_of_an_invitation_is_kept_as_a_hash_and_shown_once(invited, root, studio):
    secret = invited().rsplit("/", 1)[1]
    assert secret not in root.get("/invitations").text
    assert secret not in root.get("/audit").text
    with studio.db.reading() as session:
        row = session.scalars(select(Invitation)).one()
    assert secret not in str(vars(row))


@pytest.mark.parametrize("body", [{"role": "user"}, {"active": False}])
def test_invitations_of_who_is_no_administrator_any_more_are_void(app, root, person, body):
    other = person("other", admin=True)
    link = other.post("/invitations", json={}).json["link"].removeprefix("http://localhost")
    kept = root.post("/invitations", json={}).json["link"].removeprefix("http://localhost")
    assert root.patch(f"/users/{other.user.id}", json=body).status_code == 200
    assert join(app, link)[0].status_code == 404
    assert join(app, kept)[0].status_code == 303


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"uses": 0}, "/uses"),
        ({"uses": 1001}, "/uses"),
        ({"expires_days": 0}, "/expires_days"),
        ({"expires_days": 366}, "/expires_days"),
        ({"note": "two\nlines"}, "/note"),
        ({"note": "x" * 201}, "/note"),
        ({"role": "admin"}, "/role"),
    ],
)
def test_a_bad_invitation_is_refused_with_its_field(root, body, pointer):
    answer = root.post("/invitations", json=body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(("sign_up", "status"), [("closed", 404), ("invite", 404), ("open", 200)])
def test_the_open_door_is_open_only_where_it_is_open(app, client, status):
    html = {"Accept": "text/html"}
    assert client.get("/join", headers=html).status_code == status
    assert ("/join" in client.get("/sign-in", headers=html).text) == (status == 200)
    assert client.get("/join/" + "x" * 43, headers=html).status_code == 404


@pytest.mark.parametrize("sign_up", ["closed"])
def test_a_closed_house_invites_nobody(app, root):
    assert root.post("/invitations", json={}).status_code == 409


def test_an_invitation_is_void_once_the_house_is_closed(app, invited, make_settings, database_url):
    path = invited()
    closed = create_app(
        make_settings(database_url=database_url, sign_up="closed"), background=False
    )
    assert join(closed, path)[0].status_code == 404
    closed.extensions["atelier"].close()


@pytest.mark.parametrize("sign_up", ["open"])
def test_anybody_joins_where_sign_up_is_open(app, studio):
    answer, browser = join(app, "/join")
    assert answer.status_code == 303
    assert "carl" in browser.get("/account").text
    with studio.db.reading() as session:
        assert session.scalars(select(User.role)).all() == ["user"]


@pytest.mark.parametrize("sign_up", ["open"])
def test_an_address_makes_only_so_many_accounts(app, monkeypatch):
    monkeypatch.setattr(accounts, "_hash_password", lambda password: "hash")
    browser = Browser(app)
    statuses = []
    for n in range(21):
        form = {"name": f"guest{n}", "password": PASSWORD, "again": PASSWORD}
        answer = browser.post("/join", form, page="/join")
        statuses.append(answer.status_code)
        browser = Browser(app)
    assert statuses == [303] * 20 + [429]
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600


def test_a_page_invites_and_takes_back(app, root):
    browser = Browser(app, root.user)
    answer = browser.post("/people/invitations", {"note": "Eve", "uses": "3"}, page="/people")
    assert answer.status_code == 201
    assert "http://localhost/join/" in answer.text
    [row] = root.get("/invitations").json["items"]
    assert (row["note"], row["uses"]) == ("Eve", 3)
    assert browser.post("/people/invitations", {"uses": "x"}, page="/people").status_code == 422
    path = f"/people/invitations/{row['id']}/revoke"
    assert browser.post(path, page="/people").status_code == 303
    assert root.get("/invitations").json["items"] == []
