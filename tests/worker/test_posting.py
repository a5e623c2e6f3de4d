"""One POST: pinned to the address that was checked, redirected nowhere, over in time whatever the receiver does."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import closing, contextmanager

import pytest

from shared import webhook_targets
from shared.webhook_targets import networks_of
from shared.webhooks import Reply
from tests.conftest import cannot
from tests.receiver import LOOPBACK, Receiver
from tests.servers import free_port
from worker import posting

NETWORKS = networks_of(LOOPBACK)
BRIEF = 1.0


def post(url, seconds=5.0, networks=NETWORKS, body=b'{"type":"x"}'):
    return posting.post(url, body, {"Webhook-Id": "m1"}, networks, seconds)


@contextmanager
def answering(talk):
    """A server that is no HTTP server: `talk(connection)` for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_talk, args=(talk, connection), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _talk(talk, connection):
    with closing(connection):
        try:
            connection.recv(65536)
            talk(connection)
        except OSError:
            pass  # it was cut, as it should be


def test_the_body_arrives_as_it_is():
    body = '{"name":"汉字 \\ud83d"}'.encode()
    with Receiver() as receiver:
        assert post(f"{receiver.url}?key=a%20b", body=body) == Reply(204)
        (letter,) = receiver.letters
    assert (letter.path, letter.body) == ("/hook?key=a%20b", body)
    assert letter.headers["webhook-id"] == "m1"
    assert letter.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_other_answers_are_failures(status):
    with Receiver(status) as receiver:
        assert post(receiver.url) == Reply(status, "status")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("inside", [True, False])
def test_redirects_are_failures_and_not_followed(status, inside):
    """Attack 72."""
    with Receiver() as other:

        def away(handler):
            handler.send_response(status)
            handler.send_header("Location", other.url if inside else "file:///etc/passwd")
            handler.end_headers()

        with Receiver(away) as receiver:
            assert post(receiver.url) == Reply(status, "redirect")
        assert other.letters == []


def test_addresses_inside_are_refused_at_the_connection_too():
    """Attack 70: nothing arrives, although somebody listens there."""
    with Receiver() as receiver:
        assert post(receiver.url, networks=()) == Reply(error="refused")
        assert receiver.letters == []


def test_a_name_is_looked_up_once_and_its_address_pinned(monkeypatch):
    """DNS rebinding: the second answer would lead elsewhere, and is never asked for."""
    with Receiver() as receiver:
        asked, ask = [], socket.getaddrinfo

        def look_up(host, port, *more, **options):
            if host == "rebind.example":
                asked.append(host)
                host = "127.0.0.1" if len(asked) == 1 else "127.0.0.9"
            return ask(host, port, *more, **options)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        assert post(f"http://rebind.example:{receiver.port}/") == Reply(204)
        (letter,) = receiver.letters
    assert asked == ["rebind.example"]
    assert letter.headers["host"] == f"rebind.example:{receiver.port}"


def test_the_next_address_is_tried_where_one_refuses(monkeypatch):
    with Receiver() as receiver:
        monkeypatch.setattr(webhook_targets, "addresses", lambda *_: ["127.0.0.9", "127.0.0.1"])
        assert post(receiver.url) == Reply(204)


def test_an_address_that_leads_nowhere_does_not_take_all_the_time(monkeypatch):
    """IPv6 that is routed and dropped: a listener whose queue is full says nothing, as that does."""
    with Receiver() as receiver, socket.socket() as full:
        full.bind(("127.0.0.9", receiver.port))
        full.listen(0)
        knocking = [socket.socket() for _ in range(4)]
        for one in knocking:
            one.setblocking(False)
            one.connect_ex(("127.0.0.9", receiver.port))
        monkeypatch.setattr(webhook_targets, "addresses", lambda *_: ["127.0.0.9", "127.0.0.1"])
        assert post(receiver.url, seconds=4.0) == Reply(204)
        for one in knocking:
            one.close()


def test_an_ipv6_address_has_its_brackets():
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        cannot("no IPv6 on this machine")
    heads = []

    def serve():
        connection, _ = listener.accept()
        with connection:
            heads.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            while connection.recv(
                65536
            ):  # closed with something unread, it would take the answer back
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    assert post(f"http://[::1]:{port}/", networks=networks_of("::1/128")) == Reply(204)
    thread.join()
    listener.close()
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in heads[0]


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: let_go.wait(60) and [])
    assert post("https://slow.example/", seconds=BRIEF) == Reply(error="unresolved")
    let_go.set()


def test_nobody_there():
    assert post(f"http://127.0.0.1:{free_port()}/") == Reply(error="connection")
    assert post("https://no-such-host.invalid/") == Reply(error="unresolved")


def endless_headers(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"a" * 1000 + b"\r\n")


def a_byte_at_a_time(connection):
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def silence(connection):
    while connection.recv(65536):  # the body may come after the head
        pass


def endless_remarks(connection):
    """Each is an answer of its own, so that no limit of one head is ever met."""
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nX-More: " + b"a" * 1000 + b"\r\n\r\n")


@pytest.mark.parametrize("talk", [a_byte_at_a_time, silence])
def test_a_receiver_that_takes_its_time_is_cut_off(talk):
    """Attack 74. Without an end of all waits together, a byte in time would always bring the next one."""
    with answering(talk) as url:
        assert post(url, seconds=BRIEF) == Reply(error="timeout")


@pytest.mark.parametrize("talk", [endless_headers, endless_remarks])
def test_a_receiver_that_never_stops_is_cut_off(talk):
    with answering(talk) as url:
        assert post(url, seconds=60.0) == Reply(error="connection")


def test_a_huge_answer_is_not_read():
    sent = []

    def huge(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            sent.append(connection.send(b"a" * 65536))

    with answering(huge) as url:
        assert post(url) == Reply(200)
    assert sum(sent) < 50_000_000  # what lay in the sockets' buffers


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"", b"HTTP/1.1 banana\r\n\r\n"])
def test_what_is_no_http_is_a_failure(said):
    with answering(lambda connection: connection.sendall(said)) as url:
        assert post(url) == Reply(error="connection")


# ---- TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """A certificate for hooks.example that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("hooks.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.3"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "hooks.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def over_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Receiver(tls=context) as receiver:
        yield receiver


def test_a_certificate_that_nobody_vouches_for_is_refused(over_tls):
    assert post(f"https://127.0.0.1:{over_tls.port}/") == Reply(error="tls")
    assert over_tls.letters == []


def test_the_certificate_is_asked_for_by_the_name_not_by_the_address(
    over_tls, certificate, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # an authority of the house
    posting._tls.cache_clear()
    monkeypatch.setattr(webhook_targets, "addresses", lambda *_: ["127.0.0.1"])
    assert post(f"https://hooks.example:{over_tls.port}/") == Reply(204)
    assert post(f"https://other.example:{over_tls.port}/") == Reply(error="tls")
    posting._tls.cache_clear()
