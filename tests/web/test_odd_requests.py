"""Odd paths, queries, headers and bodies: whatever comes in, the answer is a refusal and never an error of ours."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from shared.ids import new_id
from tests.web.conftest import API

IDS = (
    "%00",
    "a%00b",
    "%FF%FE",
    "%ED%A0%80",
    "1" * 5000,
    "-1",
    "%F0%9F%92%A3",
    "%27%3B--",
    "%25s",
    "..%2F..%2Fsecret_key",
)
NUMBERS = ("", "-1", "1e9", "٣", "0" * 19 + "9" * 12, "0" * 5000, "9" * 5000)
NAMES = ("after", "limit", "wait", "max_points", "force", "inline", "dry_run", "id")
WORDS = ("state", "kind", "family", "model_id", "dataset_id", "created_after", "q", "next", "still")
ODD_HEADERS = (
    ("If-None-Match", "*"),
    ("If-None-Match", 'W/"1", "' + "9" * 40 + '", junk'),
    ("Last-Event-ID", "9" * 40),
    ("Range", "bytes=9-1,-,x-"),
    ("Range", "bytes=" + ",".join("0-1" for _ in range(500))),
    ("Accept", "text/event-stream;q=x, */*;q=nan"),
    ("Idempotency-Key", "\x7f"),
    ("Content-Length", "abc"),
    ("Cookie", "atelier=%00; atelier=x"),
    ("Host", "[::1"),
)


@pytest.fixture
def database_url(postgres_url):
    """PostgreSQL alone: it refuses more odd values than SQLite does."""
    return postgres_url


def rules(app, method):
    return [rule for rule in app.url_map.iter_rules() if method in rule.methods]


def paths(app, ids, method="GET"):
    """Every rule with these ids in place of what it takes."""
    for rule in rules(app, method):
        if rule.arguments <= ids.keys():
            path = re.sub(r"<[^:>]+:(\w+)>", r"<\1>", rule.rule)
            for name, value in ids.items():
                path = path.replace(f"<{name}>", value)
            yield path


def ask(person, method, path, **options):
    headers = {"Authorization": f"Bearer {person.token}", **options.pop("headers", {})}
    return person.client.open(path, method=method, headers=headers, **options)


def test_odd_ids_are_not_found(app, alice, toy):
    arguments = {name for rule in app.url_map.iter_rules() for name in rule.arguments} - {"n"}
    for odd in IDS:
        ids = {"n": "0", **dict.fromkeys(arguments, odd)}
        for method in ("GET", "POST", "PATCH", "DELETE"):
            for path in paths(app, ids, method):
                if "{" in path or odd not in path:
                    continue
                options = {"json": {}} if method in ("POST", "PATCH") else {}
                answer = ask(alice, method, path, **options)
                assert 400 <= answer.status_code < 500, (method, path[:120], answer.status_code)


@pytest.mark.parametrize("n", ["9" * 12, "9" * 30, "9" * 5000, "-1", "x", "%00"])
def test_odd_numbers_of_items_are_not_found(alice, work, n):
    dataset_id = work.dataset(alice)
    assert alice.get(f"/datasets/{dataset_id}/items/{n}/content").status_code == 404


def test_odd_queries_are_refused_or_ignored(app, alice, things):
    ids = {f"{name}_id": value for name, value in things.items()} | {"n": "0", "name": "toy"}
    tries = [(name, text) for name in NAMES for text in NUMBERS]
    tries += [(name, text) for name in WORDS for text in ("%00", "9" * 400)]
    # the API refuses what it does not know, so one at a time; pages take no notice of it
    one_by_one = [f"{name}={text}" for name, text in tries]
    at_once = [
        "&".join(f"{name}={text}" for name in (*NAMES, *WORDS)) for text in (*NUMBERS, "%00")
    ]
    for path in paths(app, ids):
        if "/static" in path:
            continue
        for query in one_by_one if path.startswith(API) else at_once:
            answer = ask(alice, "GET", f"{path}?{query}", buffered=False)
            answer.close()
            assert answer.status_code < 500, (path, query[:60], answer.status_code)


def test_odd_headers_are_refused_or_ignored(app, alice, things):
    ids = {f"{name}_id": value for name, value in things.items()} | {"n": "0", "name": "toy"}
    for path, (name, value) in itertools.product(paths(app, ids), ODD_HEADERS):
        answer = ask(alice, "GET", path, headers={name: value})
        answer.close()
        assert answer.status_code < 500, (path, name, value[:40], answer.status_code)


def nested(depth):
    return "[" * depth + "]" * depth


def training(steps):
    return f'{{"kind": "train", "family": "toy", "params": {{"steps": {steps}}}}}'


BODIES = [training(nested(depth)) for depth in (19, 200, 300, 450, 700, 950, 2000, 100_000)] + [
    training('{"a":' * 300 + "1" + "}" * 300),
    '{"\\ud800": 1}',
    '{"kind": "train", "params": {"\\ud800": 1}}',
    '{"kind": "train", "family": "toy", "params": {"\\ud800": 1}}',
    '{"kind": "\\ud800"}',
    '{"kind": "train", "family": "\\u0000"}',
    '{"kind": "train", "family": "toy", "dataset_id": "\\ud800"}',
    '{"kind": "train", "family": "toy", "seed": ' + "9" * 400 + "}",
    '{"kind": "train", "family": "toy", "seed": ' + "9" * 5000 + "}",
    '{"kind": "train", "family": "toy", "priority": 1e400}',
    '{"kind": "train", "family": "toy", "deadline_seconds": ' + "9" * 399 + "}",
    '{"kind": "train", "family": "toy", "name": "\\ud800"}',
    '{"sample": "\\ud800"}',
    '{"name": "\\ud800"}',
    "[]",
    "null",
    '"x"',
    "\ufeff{}",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_odd_bodies_are_refused(alice, work, body):
    dataset_id = work.dataset(alice)
    with_dataset = body.replace(
        '"family": "toy",', f'"family": "toy", "dataset_id": "{dataset_id}",'
    )
    for path in ("/jobs", "/jobs?dry_run=1", "/datasets", "/me/tokens"):
        if path == "/me/tokens" and body == '{"name": "x"}':
            continue
        for text in (body, with_dataset):
            answer = alice.post(path, data=text, content_type="application/json")
            assert 400 <= answer.status_code < 500, (path, answer.status_code)
            assert json.loads(answer.data)["code"]


def test_odd_forms_are_refused(app, mine, things):
    """Pages take forms; a NUL or half a character in one is a mistake of the sender."""
    for odd in ("\0", "\x7f\u202e"):
        fields = {
            "name": odd,
            "password": odd,
            "sample": odd,
            "visibility": odd,
            "dataset_id": odd,
            "seed": odd,
            "old": odd,
            "again": odd,
            "next": odd,
            "params.steps": odd,
            "params.prompt": odd,
            "nonce": odd,
        }
        ids = {f"{name}_id": value for name, value in things.items()}
        ids |= {"family": "toy", "token_id": new_id(), "session_id": "0" * 64}
        for path in paths(app, ids, "POST"):
            if path.startswith(API) or path.endswith(
                ("/delete", "/cancel", "/sign-out", "/sample")
            ):
                continue
            answer = mine.post(path, fields)
            assert answer.status_code < 500, (path, odd, answer.status_code)
