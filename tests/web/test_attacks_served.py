"""Attacks on the server as it really listens: raw requests, odd paths; and what no file may hold."""

from __future__ import annotations

import ast
import json
import logging
import re
import socket

import httpx
import pytest

from shared.log import JsonFormatter
from tests.web.live import WebProcess
from tests.work import ROOT
from web import create_app


@pytest.fixture
def served(app, make_settings, database_url, monkeypatch):
    """The web server by itself, where somebody left FLASK_DEBUG in the environment."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    web = WebProcess(make_settings(database_url=database_url))
    yield web
    web.kill()


def raw(web, text: str) -> bytes:
    """What the server says to these very bytes, until it hangs up or is silent."""
    with socket.create_connection(("127.0.0.1", web.settings.port), timeout=10) as line:
        line.sendall(text.replace("\n", "\r\n").encode())
        line.settimeout(3)
        answer = b""
        try:
            while piece := line.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
    return answer


SMUGGLED = "GET /smuggled HTTP/1.1\nHost: 127.0.0.1\n\n"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 6\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nContent-Length: 6",
        "Content-Length: 0\nContent-Length: 44",
        "Content-Length: 44\nContent-Length: 0",
    ],
)
def test_no_second_request_is_smuggled_in_a_body(served, headers):
    """Who stands before us may have read the other length: never is what follows answered as a request."""
    answer = raw(
        served, f"POST /api/v1/jobs HTTP/1.1\nHost: 127.0.0.1\n{headers}\n\n0\n\n{SMUGGLED}"
    )
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]
    # it hangs up without a word, or refuses once
    assert len(statuses) <= 1 and set(statuses) <= {400, 401}, answer
    assert httpx.get(f"{served.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/.git/config",
        "/.git/HEAD",
        "/static/",
        "/static/css/",
        "/static/../secret_key",
        "/static/..%2f..%2fpyproject.toml",
        "/static/..%252f..%252fpyproject.toml",
        "/static/..%5c..%5cpyproject.toml",
        "/static/%2e%2e/%2e%2e/pyproject.toml",
        "/console",
        "/?__debugger__=yes&cmd=resource&f=debugger.js",
        "/atelier.db",
        "/secret_key",
    ],
)
def test_no_file_is_served_that_is_not_a_static_one(served, path):
    answer = raw(served, f"GET {path} HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n")
    assert re.match(rb"HTTP/1\.1 (303|400|401|404) ", answer), answer[:200]
    for word in (b"build-system", b"[core]", b"refs/heads", b"Index of", b"debugger.js\r"):
        assert word not in answer


@pytest.mark.parametrize(
    "id_",
    [
        "..%2f..%2fsecret_key",
        "..%252f..%252fsecret_key",
        "..%5c..%5csecret_key",
        "..%255c..%255csecret_key",
        "%2e%2e",
        "....//....//secret_key",
        "{id}%2f..%2f..%2fsecret_key",
        "{id}%5c..",
        "{id}%00",
        "{id}%252e",
    ],
)
@pytest.mark.parametrize("part", ["", "/content", "/thumbnail"])
def test_an_address_of_an_artifact_is_no_path(alice, work, id_, part):
    artifact_id = work.artifact(alice)
    assert alice.get(f"/artifacts/{artifact_id}/content").status_code == 200
    answer = alice.get(f"/artifacts/{id_.format(id=artifact_id)}{part}")
    assert answer.status_code == 404, answer.text[:200]


def test_flask_debug_in_the_environment_shows_nobody_a_traceback(
    make_settings, sqlite_url, monkeypatch
):
    monkeypatch.setenv("FLASK_DEBUG", "1")
    app = create_app(make_settings(database_url=sqlite_url), background=False)

    def broken(*_):
        raise RuntimeError("secret detail")

    app.add_url_rule("/broken-on-purpose", view_func=broken)
    answer = app.test_client().get("/broken-on-purpose")
    assert not app.debug
    assert "secret detail" not in answer.text and "Traceback" not in answer.text
    app.extensions["atelier"].close()


@pytest.mark.parametrize("word", ["a\r\nX-Evil: 1", "a\nb", "\x1b[31m", 'a"}\n{"level": "x'])
def test_whatever_is_logged_stays_one_line(word):
    record = logging.LogRecord("web", logging.INFO, "x.py", 1, "name %s", (word,), None)
    line = JsonFormatter().format(record)
    assert not set(line) & set("\r\n\x1b")
    assert json.loads(line)["message"] == f"name {word}"


# ---- what no file of ours may hold

CODE = [
    path
    for folder in ("atelier_client", "migrations", "shared", "web", "worker")
    for path in (ROOT / folder).rglob("*.py")
]
BANNED_CALLS = {
    *("eval", "exec", "extractall", "render_template_string"),
    *("unpickle", "mktemp", "Markup", "from_pretrained"),
}
# (file, call): why it is harmless
ALLOWED = {
    (
        "web/views/numbers.py",
        "Markup",
    ): "a text of its own; what it is given is escaped by format()",
    ("web/views/tables.py", "Markup"): "what was markup already, with attributes of its own put in",
}


def called(node: ast.Call) -> str:
    """`x` of x(); of y.x() too where no object of ours has such a method."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    if isinstance(node.func, ast.Attribute) and node.func.attr != "eval":  # torch's eval()
        return node.func.attr
    return ""


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_unpacks_or_runs_what_it_was_given(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            place = (str(path.relative_to(ROOT)), called(node))
            assert place[1] not in BANNED_CALLS or place in ALLOWED, (node.lineno, place)
            for keyword in node.keywords:
                risky = keyword.arg in ("allow_pickle", "shell")
                is_false = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                assert not risky or is_false, (node.lineno, keyword.arg)


def test_no_template_switches_escaping_off():
    for path in (ROOT / "web" / "templates").rglob("*.*"):
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", text), path
