"""A job as people ask for it outside of the pages: curl, Python, command line, JSON. Plain functions, text out.

The token is never in them: they take it from ATELIER_TOKEN.
"""

from __future__ import annotations

import json
import pprint
from collections.abc import Mapping
from shlex import quote
from typing import Any

Body = Mapping[str, Any]  # of POST /jobs


def all_of(url: str, body: Body) -> list[tuple[str, str, str]]:
    """[(name, words, text)], `url` is that of the server."""
    return [
        ("curl", "curl", curl(url, body)),
        ("python", "Python", python(url, body)),
        ("cli", "CLI", command(url, body)),
        ("json", "JSON", as_json(body)),
    ]


def as_json(body: Body) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False)


def curl(url: str, body: Body) -> str:
    return (
        f"curl --fail-with-body -sS {quote(url + '/api/v1/jobs')} \\\n"
        '  -H "Authorization: Bearer $ATELIER_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {quote(as_json(body))}"
    )


def python(url: str, body: Body) -> str:
    rest = {name: value for name, value in body.items() if name not in ("kind", "params")}
    params = pprint.pformat(body["params"], sort_dicts=False, width=80)
    arguments = [repr(body["kind"]), params, *(f"{name}={rest[name]!r}" for name in rest)]
    inside = "".join(f"        {_indented(one)},\n" for one in arguments)
    return (
        "import os\n\nfrom atelier_client import Client\n\n"
        f'with Client({url!r}, os.environ["ATELIER_TOKEN"]) as atelier:\n'
        f"    job = atelier.jobs.submit(\n{inside}    )\n"
        "    print(job.id, job.wait().state)"
    )


def _indented(text: str) -> str:
    return text.replace("\n", "\n        ")


def command(url: str, body: Body) -> str:
    options = [
        f"--{option} {quote(str(body[name]))}"
        for name, option in (
            ("family", "family"),
            ("dataset_id", "dataset"),
            ("model_id", "model"),
            ("seed", "seed"),
            ("name", "name"),
        )
        if name in body
    ]
    pairs = [f"-p {quote(name + '=' + _spoken(value))}" for name, value in body["params"].items()]
    lines = [f"ATELIER_URL={quote(url)} atelier job submit {body['kind']}", *options, *pairs]
    return " \\\n  ".join([*lines, "--wait"])


def _spoken(value: Any) -> str:
    """As `-p` reads it: a text as it is, unless it would be read as something else."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False)
