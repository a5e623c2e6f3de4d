"""Attack 36: bodies that never end hold no more threads than are counted, and everybody else is answered."""

from __future__ import annotations

import io
import socket
from contextlib import ExitStack

import httpx
import pytest

from tests.servers import wait_until
from tests.web.live import WebProcess
from web.bodies import Bodies, TooManyBodies

THREADS, STREAMS = 10, 2
MOST = (THREADS - STREAMS) * 3 // 4


def test_bodies_that_trickle_in_keep_nobody_else_waiting(app, make_settings, database_url):
    web = WebProcess(
        make_settings(database_url=database_url, web_threads=THREADS, event_streams=STREAMS)
    )
    try:
        with ExitStack() as lines:
            held = [lines.enter_context(half_a_form(web)) for _ in range(MOST)]
            wait_until(lambda: sign_in(web).status_code == 503, 30, "every place to be taken")
            refused = sign_in(web)
            assert (refused.json()["code"], refused.headers["Retry-After"]) == (
                *("too_many_bodies", "5"),
            )
            more = [lines.enter_context(half_a_form(web)) for _ in range(2 * THREADS)]
            for path in ("/healthz", "/readyz", "/sign-in", "/api/v1/me"):
                assert httpx.get(web.url + path, timeout=20).status_code in (200, 401), path
            for line in (*held, *more):
                line.close()
            wait_until(lambda: sign_in(web).status_code != 503, 30, "places to be free again")
    finally:
        web.kill()


def half_a_form(web) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", web.settings.port), timeout=20)
    line.sendall(
        b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname=half"
    )
    return line


def sign_in(web):
    headers = {"Accept": "application/json"}
    return httpx.post(f"{web.url}/sign-in", data={"name": "a"}, headers=headers, timeout=20)


@pytest.fixture
def bodies(make_settings):
    settings = make_settings(web_threads=THREADS, event_streams=STREAMS)

    def make(view):
        return Bodies(lambda environ, _start: view(environ["wsgi.input"]), settings)

    return make


def environ(address="192.0.2.1", data=b"0123456789", length=None):
    length = len(data) if length is None else length
    return {
        "REMOTE_ADDR": address,
        "CONTENT_LENGTH": str(length) if length >= 0 else "",
        "wsgi.input": io.BytesIO(data),
    }


def test_one_address_takes_half_of_the_places_and_leaves_the_others(bodies, monkeypatch):
    monkeypatch.setattr("web.bodies.WAIT_SECONDS", 0.0)
    inside = []

    def view(body):
        body.read(1)
        inside.append(body)
        if len(inside) < MOST:
            address = "192.0.2.1" if len(inside) < MOST // 2 else "192.0.2.2"
            return application(environ(address), None)
        with pytest.raises(TooManyBodies):
            application(environ("192.0.2.3"), None)
        return [b""]

    application = bodies(view)
    application(environ(), None)
    assert len(inside) == MOST
    inside.clear()

    def greedy(body):
        body.read(1)
        inside.append(body)
        return application(environ(), None)

    application = bodies(greedy)
    with pytest.raises(TooManyBodies):
        application(environ(), None)
    assert len(inside) == MOST // 2


@pytest.mark.parametrize("length", [10, -1])
def test_a_place_is_free_again_when_the_body_is_read_and_when_it_is_not(bodies, length):
    def view(body):
        whole = body.read() if length == 10 else b"".join(iter(lambda: body.read(4), b""))
        assert whole == b"0123456789"
        assert body.read(5) == b""
        return [b""] if depth.pop() else application(environ(length=length), None)

    depth = [1, *[0] * (3 * MOST)]
    application = bodies(view)
    application(environ(length=length), None)
    assert depth == []

    def broken(body):
        body.readline(3)
        raise ValueError

    application = bodies(broken)
    for _ in range(3 * MOST):
        with pytest.raises(ValueError):
            application(environ(length=length), None)
