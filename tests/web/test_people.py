"""Administrators: accounts, quotas, deactivation, the audit."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import delete, event, select, update
from sqlalchemy.exc import DBAPIError

import migrations
from shared.db import Database
from shared.ids import new_id
from shared.models import ApiToken, AuditEntry, Job
from tests.web.browsing import Browser
from tests.web.conftest import API
from web.services import accounts, events

PASSWORD = "correct horse battery"


@pytest.fixture
def root(person):
    return person("root", admin=True)


@pytest.fixture
def entries(studio):
    """The actions in the audit, oldest first."""

    def read():
        with studio.db.reading() as session:
            return [
                (row.action, row.actor_name, row.subject_name)
                for row in session.scalars(select(AuditEntry).order_by(AuditEntry.id))
            ]

    return read


def change(root, person, **values):
    return root.patch(f"/users/{person.user.id}", json=values)


# ---- who may -------------------------------------------------------------------------------------


ADMIN_RULES = ("/users", "/invitations", "/audit", "/people", "/admin")


def test_everything_for_administrators_is_forbidden_to_others(app, alice, root):
    tried = 0
    for rule in app.url_map.iter_rules():
        if not rule.rule.removeprefix(API).startswith(ADMIN_RULES):
            continue
        path = rule.rule.replace("<user_id>", alice.user.id).replace("<invitation_id>", "x")
        for method in rule.methods & {"GET", "POST", "PATCH", "DELETE"}:
            headers = {"Authorization": f"Bearer {alice.token}"}
            answer = alice.client.open(path, method=method, headers=headers)
            assert (answer.status_code, answer.json["code"]) == (403, "forbidden"), rule.rule
            tried += 1
    assert tried >= 15


def test_a_member_sees_no_page_of_administrators_and_no_link_to_it(app, alice, root):
    assert Browser(app, alice.user).get("/people").status_code == 403
    assert "/people" not in Browser(app, alice.user).get("/").text
    assert "/people" in Browser(app, root.user).get("/").text


# ---- accounts ------------------------------------------------------------------------------------


def test_an_account_is_made_with_a_link_that_sets_its_password(root, client, app):
    made = root.post("/users", json={"name": "carl"})
    assert made.status_code == 201
    assert made.headers["Location"].endswith(made.json["id"])
    assert (made.json["role"], made.json["active"], made.json["has_password"]) == (
        "user",
        True,
        False,
    )
    path = made.json["link"].removeprefix("http://localhost")
    browser = Browser(app)
    form = {"password": PASSWORD, "again": PASSWORD}
    assert browser.post(path, form, page=path).status_code == 303
    assert browser.post(path, form, page="/account").status_code == 404
    assert root.get(f"/users/{made.json['id']}").json["has_password"] is True


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": "no spaces"}, "/name"),
        ({"name": "x" * 65}, "/name"),
        ({"name": "x", "admin": 1}, "/admin"),
        ({"name": "x", "role": "admin"}, "/role"),
    ],
)
def test_a_bad_account_is_refused_with_its_field(root, body, pointer):
    answer = root.post("/users", json=body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer


def test_a_name_is_given_once(root, alice):
    answer = root.post("/users", json={"name": "alice"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_many_users_are_listed_with_as_many_statements_as_few(root, person, studio, work):
    statements = []
    event.listen(studio.db.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))

    def listed():
        statements.clear()
        found = root.get("/users").json["items"]
        return len(found), len(statements)

    listed()  # what is asked only the first time
    few, before = listed()
    for n in range(5):
        one = person()
        work.training(one)
        if n % 2:
            assert change(root, one, weight=2.0, quota={"max_queued_jobs": n}).status_code == 200
    many, after = listed()
    assert (many, after) == (few + 5, before)
    alone = root.get("/users").json["items"][0]
    assert alone == root.get(f"/users/{alone['id']}").json
    assert alone["use"]["queued_jobs"] == 1


def test_users_are_listed_by_pages_with_what_they_hold(root, alice, work):
    work.training(alice)
    first = root.get("/users?limit=1").json
    assert [user["name"] for user in first["items"]] == ["alice"]
    assert first["items"][0]["use"]["queued_jobs"] == 1
    second = root.get(f"/users?limit=1&after={first['next']}").json
    assert [user["name"] for user in second["items"]] == ["root"]
    assert second["next"] is None


def test_quotas_are_set_one_by_one_and_taken_back_by_null(root, alice):
    answer = change(root, alice, quota={"max_queued_jobs": 5, "max_running_jobs": 1})
    assert answer.json["quota"]["max_queued_jobs"] == 5
    answer = change(root, alice, quota={"max_queued_jobs": None})
    assert answer.json["quota"]["max_queued_jobs"] is None
    assert answer.json["quota"]["max_running_jobs"] == 1
    assert answer.json["limits"]["max_queued_jobs"] == 10_000
    assert alice.get("/me").json["quota"]["max_running_jobs"] == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"quota": {"max_queued_jobs": -1}}, "/quota/max_queued_jobs"),
        ({"quota": {"max_queued_jobs": 1e9}}, "/quota/max_queued_jobs"),
        ({"quota": {"max_storage_bytes": 2**63}}, "/quota/max_storage_bytes"),
        ({"quota": {"jobs": 1}}, "/quota/jobs"),
        ({"weight": 0}, "/weight"),
        ({"weight": None}, "/weight"),
        ({"active": None}, "/active"),
        ({"active": "no"}, "/active"),
        ({"role": "root"}, "/role"),
        ({"name": "x"}, "/name"),
    ],
)
def test_bad_changes_are_refused_with_their_field(root, alice, body, pointer):
    answer = change(root, alice, **body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer


def test_a_weight_is_set(root, alice):
    assert change(root, alice, weight=2.5).json["weight"] == 2.5


def test_nobody_is_changed_under_an_id_that_is_nobody_s(root):
    assert root.patch("/users/nobody", json={"active": False}).status_code == 404
    assert root.get("/users/nobody").status_code == 404
    assert root.post("/users/nobody/link").status_code == 404


# ---- deactivation and roles --------------------------------------------------------------------------


def test_a_deactivated_user_is_out_at_once_and_for_good(app, root, alice, work):
    queued, running = work.training(alice)["id"], work.training(alice)["id"]
    (job,) = [row for row in work.claim() if row.id == queued] or work.claim()
    browser = Browser(app, alice.user)
    assert browser.get("/account").status_code == 200
    assert change(root, alice, active=False).json["active"] is False
    assert alice.get("/me").status_code == 401
    assert browser.get("/account").status_code == 303
    with work.studio.db.reading() as session:
        assert session.get_one(Job, job.id).cancel_requested_at
    assert work.claim() == []
    assert {queued, running} >= {job.id}
    # what was stolen before does not come back with the account
    change(root, alice, active=True)
    assert alice.get("/me").status_code == 401
    assert browser.get("/account").status_code == 303


def test_a_deactivated_user_s_queued_jobs_wait_for_his_return(root, alice, work):
    job_id = work.training(alice)["id"]
    change(root, alice, active=False)
    assert work.claim() == []
    change(root, alice, active=True)
    assert [row.id for row in work.claim()] == [job_id]


def test_a_link_of_a_deactivated_user_is_dead(root, alice, client):
    link = root.post(f"/users/{alice.user.id}/link").json["link"]
    path = link.removeprefix("http://localhost")
    assert client.get(path).status_code == 200
    change(root, alice, active=False)
    assert client.get(path).status_code == 404
    assert root.post(f"/users/{alice.user.id}/link").status_code == 409


def test_a_change_of_role_ends_what_was_signed_in_before(root, alice, app):
    browser = Browser(app, alice.user)
    assert change(root, alice, role="admin").json["role"] == "admin"
    assert alice.get("/me").status_code == 401
    assert browser.get("/account").status_code == 303


def test_an_unchanged_role_ends_nothing(root, alice):
    change(root, alice, role="user", active=True)
    assert alice.get("/me").status_code == 200


@pytest.mark.parametrize("body", [{"role": "user"}, {"active": False}])
def test_the_last_administrator_stays(root, person, body):
    other = person("other", admin=True)
    assert change(root, other, **body).status_code == 200
    answer = change(root, root, **body)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert root.get("/users").status_code == 200


def test_an_administrator_who_cannot_come_in_is_nobody_in_charge(root, studio):
    accounts.create_user(studio.db, "ghost", admin=True)
    assert change(root, root, active=False).status_code == 409


@pytest.mark.parametrize("how", ["deactivated", "revoked"])
def test_an_open_event_stream_ends_when_its_asker_may_no_longer_listen(
    root, alice, work, studio, monkeypatch, how
):
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    job = work.training(alice)
    answer = alice.get(
        f"/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"}, buffered=False
    )
    lines = iter(answer.response)
    seen = [next(lines) for _ in range(3)]
    assert "still here" in seen[-1].decode()
    if how == "deactivated":
        change(root, alice, active=False)
    else:
        with studio.db.reading() as session:
            token_id = session.scalar(select(ApiToken.id).where(ApiToken.user_id == alice.user.id))
        alice.delete(f"/me/tokens/{token_id}")
    rest: list[bytes] = []
    thread = threading.Thread(target=lambda: rest.extend(lines))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert not any(b"data:" in line for line in rest)
    answer.close()


# ---- the audit -------------------------------------------------------------------------------------


def test_the_audit_tells_who_did_what_to_whom(root, alice, work, entries, studio):
    change(root, alice, quota={"max_queued_jobs": 5})
    token = alice.post("/me/tokens", json={"name": "laptop"}).json
    alice.delete(f"/me/tokens/{token['id']}")
    dataset_id = work.dataset(alice)
    alice.patch(f"/datasets/{dataset_id}", json={"visibility": "shared"})
    alice.patch(f"/datasets/{dataset_id}", json={"visibility": "private", "name": "texts"})
    alice.patch(f"/datasets/{dataset_id}", json={"name": "more"})
    assert entries()[-5:] == [
        ("user_changed", "root", "alice"),
        ("token_made", "alice", "laptop"),
        ("token_revoked", "alice", "laptop"),
        ("shared", "alice", "pictures"),
        ("unshared", "alice", "texts"),
    ]
    found = root.get(f"/audit?limit=1&action=user_changed&subject_id={alice.user.id}").json
    assert found["items"][0]["facts"] == {"quota": {"max_queued_jobs": 5}}
    assert found["items"][0]["actor"]["name"] == "root"


def test_the_audit_tells_of_sign_ins_and_keeps_no_password(studio, root, entries):
    path = accounts.password_link(studio, "root")
    user = accounts.set_password_by_link(studio, path.rsplit("/", 1)[1], PASSWORD)
    accounts.sign_in(studio, "root", PASSWORD, "10.0.0.1")
    for name in ("root", "my password, in the wrong field"):
        with pytest.raises(accounts.WrongPassword):
            accounts.sign_in(studio, name, "not-the-password", "10.0.0.2")
    assert entries()[-3:] == [
        ("sign_in", "root", "root"),
        ("sign_in_failed", "", "root"),
        ("sign_in_failed", "", ""),
    ]
    root.token = accounts.issue_token(studio.db, user, "again")["token"]
    shown = root.get("/audit").text
    assert "10.0.0.2" in shown
    assert "not-the-password" not in shown and "wrong field" not in shown


@pytest.mark.parametrize("made", ["tables", "migrations"])
@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_the_database_refuses_to_change_the_audit(request, tmp_path, postgres, name, made):
    if made == "tables":
        url = request.getfixturevalue("sqlite_url" if name == "sqlite" else "postgres_url")
    elif name == "sqlite":
        url = f"sqlite:///{tmp_path}/migrated.db"
    else:
        database = f"audit_{new_id()}"
        postgres.execute(f"CREATE DATABASE {database}")
        url = postgres.url(database)
        request.addfinalizer(lambda: postgres.execute(f"DROP DATABASE {database} WITH (FORCE)"))
    if made == "migrations":
        migrations.upgrade(url)
    db = Database(url)
    accounts.create_user(db, "ann")
    for statement in (update(AuditEntry).values(at=0.0), delete(AuditEntry)):
        with pytest.raises(DBAPIError, match="never changed"), db.writing() as session:
            session.execute(statement)
    with db.reading() as session:
        assert session.scalars(select(AuditEntry.action)).all() == ["user_created"]
    db.dispose()


def test_the_audit_is_read_page_by_page(root, alice):
    first = root.get("/audit?limit=2").json
    assert len(first["items"]) == 2
    second = root.get(f"/audit?limit=200&after={first['next']}").json
    assert not {row["id"] for row in first["items"]} & {row["id"] for row in second["items"]}
    assert root.get("/audit?action=Robert'); DROP").status_code == 422


# ---- pages -----------------------------------------------------------------------------------------


@pytest.fixture
def browser(app, root):
    return Browser(app, root.user)


def test_the_page_makes_an_account_and_shows_its_link_once(browser, root):
    answer = browser.post("/people", {"name": "carl", "admin": "1"}, page="/people")
    assert answer.status_code == 201
    assert "http://localhost/welcome/" in answer.text
    assert "/welcome/" not in browser.get("/people").text
    assert root.get("/users").json["items"][0]["role"] == "admin"
    assert browser.post("/people", {"name": "carl"}, page="/people").status_code == 409
    assert browser.post("/people", {"name": "a b"}, page="/people").status_code == 422


def test_the_page_of_a_person_changes_quotas_role_and_state(browser, root, alice):
    path = f"/people/{alice.user.id}"
    quotas = {"max_queued_jobs": "7", "max_running_jobs": "", "weight": "2"}
    assert browser.post(path, quotas, page=path).status_code == 303
    shown = root.get(f"/users/{alice.user.id}").json
    assert (shown["quota"]["max_queued_jobs"], shown["weight"]) == (7, 2.0)
    answer = browser.post(path, {"max_queued_jobs": "-7"}, page=path)
    assert answer.status_code == 422
    assert "max_queued_jobs-error" in answer.text
    assert browser.post(path, {"active": "0"}, page=path).status_code == 303
    assert alice.get("/me").status_code == 401
    assert browser.post(f"{path}/link", page=path).status_code == 409
    own = f"/people/{root.user.id}"
    answer = browser.post(own, {"role": "user"}, page=own)
    assert answer.status_code == 409
    assert "last administrator" in answer.text


def test_the_account_page_shows_quotas_as_bars(mine, work, alice):
    work.training(alice)
    page = mine.page("/account")
    assert "1 of 10,000" in page.words
    assert len(page.all("progress")) == 2  # two have no limit
    assert "no limit" in page.words
