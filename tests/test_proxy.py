"""The proxy does to connections what its methods say; the fault tests rest on it."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.proxy import Proxy
from tests.servers import wait_until


@pytest.fixture
def echo():
    """A server that says everything back, and remembers it."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def talk(connection):
        with connection:
            while data := connection.recv(4096):
                heard.append(data)
                connection.sendall(data)

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture
def line(echo):
    """(the proxy, a connection through it, what the server heard)"""
    port, heard = echo
    with Proxy(port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 5) as line:
        yield proxy, line, heard


def test_it_passes_everything_on(line):
    proxy, client, heard = line
    client.sendall(b"hello")
    assert client.recv(100) == b"hello"
    assert b"".join(heard) == b"hello"


def test_in_silence_nothing_passes_until_it_speaks(line):
    proxy, client, heard = line
    proxy.silence()
    client.sendall(b"hello")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(100)
    assert not heard
    proxy.speak()
    client.settimeout(5)
    assert client.recv(100) == b"hello"


def test_a_reset_ends_the_connection(line):
    proxy, client, _ = line
    client.sendall(b"hello")
    assert client.recv(100) == b"hello"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(100) or (_ for _ in ()).throw(ConnectionResetError)


def test_a_cut_lets_the_question_through_and_no_answer(line):
    proxy, client, heard = line
    proxy.cut_reply_to(b"COMMIT")
    client.sendall(b"COMMIT")
    try:
        assert client.recv(100) == b""
    except ConnectionResetError:
        pass
    wait_until(lambda: proxy.cuts == 1, 5)
    assert b"".join(heard) == b"COMMIT"
