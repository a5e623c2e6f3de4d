"""Tokens with scopes: every route is classified, and each scope opens its routes and no others."""

from __future__ import annotations

import pytest

from tests.web.conftest import Person
from web import scopes
from web.requests import SCOPES
from web.services.tokens import issue_token

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")


@pytest.fixture
def root(person):
    return person("root", admin=True)


def routes(app):
    return [
        (rule, method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in sorted(rule.methods & set(METHODS))
    ]


def holder(app, studio, owner, *held):
    token = issue_token(studio.db, owner.user, "narrow", scopes=held)["token"]
    return Person(owner.user, token, app.test_client())


def test_every_route_of_the_api_is_classified(app):
    known = {scopes.ANY, scopes.WHOLE, *SCOPES}
    strange = [
        (method, rule.rule)
        for rule, method in routes(app)
        if scopes.needed(rule.endpoint, method) not in known
    ]
    assert strange == []


def test_a_token_with_one_scope_reaches_its_routes_and_no_others(app, studio, root):
    """Every route, with every single scope, as an administrator: only scopes may refuse."""
    for scope in SCOPES:
        narrow = holder(app, studio, root, scope)
        headers = {"Authorization": f"Bearer {narrow.token}"}
        for rule, method in routes(app):
            if rule.rule.endswith(("/healthz", "/readyz", "/metrics")):
                continue
            path = rule.rule
            for name in rule.arguments:
                path = path.replace(f"<{name}>", "0").replace(f"<int(max=2147483647):{name}>", "0")
            needed = scopes.needed(rule.endpoint, method)
            answer = narrow.client.open(path, method=method, headers=headers)
            refused = answer.status_code == 403
            assert refused == (needed not in (scope, scopes.ANY)), (scope, method, rule.rule)
            if refused:
                assert answer.json["code"] == "forbidden"
                assert needed in answer.json["detail"]


def test_a_scope_is_enough_for_its_work(app, studio, alice, work):
    dataset_id = work.dataset(alice)
    writer = holder(app, studio, alice, "jobs:write")
    body = {"kind": "train", "family": "toy", "dataset_id": dataset_id}
    made = writer.post("/jobs", json=body)
    assert made.status_code == 202
    assert writer.get(f"/jobs/{made.json['id']}").status_code == 403
    reader = holder(app, studio, alice, "jobs:read", "datasets:read")
    assert reader.get(f"/jobs/{made.json['id']}").status_code == 200
    assert reader.get(f"/datasets/{dataset_id}").status_code == 200
    assert reader.post(f"/jobs/{made.json['id']}/cancel").status_code == 403
    assert reader.get("/me").json["name"] == "alice"


def test_a_narrow_token_makes_no_wider_one(app, studio, alice):
    narrow = holder(app, studio, alice, "jobs:read")
    assert narrow.post("/me/tokens", json={"name": "wide"}).status_code == 403
    answer = narrow.client.post(
        "/account/tokens", data={"name": "x"}, headers={"Authorization": f"Bearer {narrow.token}"}
    )
    assert answer.status_code == 403
    assert len(alice.get("/me/tokens").json["items"]) == 2


def test_a_token_without_scopes_may_all_that_its_owner_may(alice):
    made = alice.post("/me/tokens", json={"name": "x", "scopes": []})
    assert made.json["scopes"] == []
    alice.token = made.json["token"]
    assert alice.get("/jobs").status_code == 200
    assert alice.get("/users").status_code == 403


def test_scopes_are_shown_in_lists_once_each_and_sorted(alice):
    asked = ["models:read", "jobs:read", "jobs:read"]
    made = alice.post("/me/tokens", json={"name": "x", "scopes": asked})
    assert made.status_code == 201
    listed = alice.get("/me/tokens").json["items"][0]
    assert listed["scopes"] == ["jobs:read", "models:read"]


@pytest.mark.parametrize("asked", [["root"], ["jobs"], "jobs:read", [1], ["jobs:read"] * 8, None])
def test_strange_scopes_are_refused(alice, asked):
    answer = alice.post("/me/tokens", json={"name": "x", "scopes": asked})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"].startswith("/scopes")


def test_the_scope_of_administrators_is_for_administrators(alice, root):
    body = {"name": "x", "scopes": ["admin"]}
    answer = alice.post("/me/tokens", json=body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/scopes")
    root.token = root.post("/me/tokens", json=body).json["token"]
    assert root.get("/users").status_code == 200
    assert root.get("/jobs").status_code == 403


def test_the_account_page_makes_a_token_with_scopes(mine, alice):
    form = {"name": "page", "scopes": ["jobs:read", "models:read"]}
    assert mine.post("/account/tokens", form).status_code == 201
    assert alice.get("/me/tokens").json["items"][0]["scopes"] == ["jobs:read", "models:read"]
    assert "jobs:read, models:read" in mine.page("/account").words
    answer = mine.post("/account/tokens", {"name": "page", "scopes": ["admin"]})
    assert answer.status_code == 422
    assert answer.mimetype == "text/html"  # a page, no problem of the API
