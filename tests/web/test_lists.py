"""Every list of the API takes `limit` and `after`."""

from __future__ import annotations

import re

import pytest

from tests.webhook_rows import add_webhook
from web.services.tokens import issue_token

LIST = re.compile(r"(?<!Ended)(?<!Event)List$")  # both of these follow a stream


def lists_of(document) -> dict[str, set[str]]:
    found = {}
    for path, item in document["paths"].items():
        shown = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        name = shown.get("application/json", {}).get("schema", {}).get("$ref", "")
        if LIST.search(name):
            found[path] = {parameter["name"] for parameter in item["get"].get("parameters", [])}
            following = document["components"]["schemas"][name.rpartition("/")[2]]["properties"]
            assert "workers/jobs" in path or "string" in str(following["next"]), path
    return found


def test_every_list_takes_limit_and_after(alice):
    lists = lists_of(alice.get("/openapi.json").json)
    assert len(lists) > 12
    # a table of what is going on now, whole by nature
    lists.pop("/workers/jobs")
    for path, names in lists.items():
        assert {"limit", "after"} <= names, path


@pytest.mark.parametrize("path", ["/me/tokens", "/webhooks", "/families", "/uploads"])
def test_a_short_list_is_whole_or_in_parts(alice, studio, work, path):
    for n in range(4):
        issue_token(studio.db, alice.user, f"token {n}")
        add_webhook(studio.db, alice.user.id)
        started = alice.post("/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "3"})
        assert started.status_code == 201
    whole = alice.get(path).json
    assert whole["next"] is None
    parts, after = [], ""
    while after is not None:
        part = alice.get(f"{path}?limit=2" + (f"&after={after}" if after else "")).json
        assert len(part["items"]) <= 2
        parts += part["items"]
        after = part["next"]
    assert parts == whole["items"] and len(parts) >= (1 if path == "/families" else 4)
    assert alice.get(f"{path}?limit=200").json == whole
    for wrong in ("limit=0", "limit=201", "limit=x", "after=", "after=%20", "x=1"):
        assert alice.get(f"{path}?{wrong}").status_code == 422, wrong


def test_checkpoints_and_previews_come_in_parts(alice, work):
    job = work.training(alice)
    (held,) = work.claim()
    for step in (10, 20, 30):
        work.checkpoint(held, step)
    path = f"/jobs/{job['id']}/checkpoints"
    whole = alice.get(path).json["items"]
    assert [one["step"] for one in whole] == [30, 20, 10]
    first = alice.get(f"{path}?limit=2").json
    assert (first["items"], first["next"]) == (whole[:2], "0000000020")
    rest = alice.get(f"{path}?limit=2&after={first['next']}").json
    assert rest == {"items": whole[2:], "next": None}
    assert alice.get(f"/jobs/{job['id']}/previews?limit=5").json == {"items": [], "next": None}
