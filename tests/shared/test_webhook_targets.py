"""Where webhooks may go: attacks 70 and 73, by the text of a URL and by the addresses that its name leads to."""

from __future__ import annotations

import socket
import threading

import pytest

from shared import webhook_targets
from shared.errors import InvalidInput
from shared.webhook_targets import addresses, networks_of, parse

# attack 70: every spelling of an address inside
INSIDE = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://[::1]/",
    "https://0.0.0.0/",
    "https://[::]/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://[fc00::1]/",
    "https://[fe80::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://%31%32%37.0.0.1/",
    "https://127.0.0.1%2f@example.com/",
    "https://user@example.com/",
    "https://a@127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https://exam\tple.com/",
    "https://example.com/\nx",
    " https://example.com/",
    "https://example.com/#part",
    "https://ex\u00e4mple.com/",
    "https:///nowhere",
    "https://[::1/",
    "https://[::1%lo]/",
    "https://[2606:4700::1%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]/",
    "https://example.com[2606:4700::1]/",
    "https://[fec0::1]/",
    "https://[3fff::1]/",
    "https://192.0.0.8/",
    "https://192.88.99.1/",
    "https://168.63.129.16/",
    "https://metadata.google.internal/",
    "https://localtest.example/",
    "https://example.com:port/",
    "https://example.com:99999/",
]
# attack 73
WRONG_SCHEMES = [
    "gopher://example.com/",
    "ftp://example.com/",
    "unix:/run/x",
    "file:///etc/passwd",
    "//x/",
]
CLOSED = [0, 22, 25, 110, 445, 6379, 5432, 3306, 27017, 9200, 11211]
OUTSIDE = {"example.com": "93.184.215.14", "two.example": "2606:2800:21f:cb07:6820:80da:af6b:8b2c"}


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """The public names of these tests; numbers and localhost are what the system says of them."""
    known = {name: [address] for name, address in OUTSIDE.items()}
    known |= {"localhost": ["127.0.0.1", "::1"], "localtest.example": ["127.0.0.1"]}
    known |= {"metadata.google.internal": ["169.254.169.254"]}
    ask = socket.getaddrinfo

    def look_up(host, port, **options):
        found = known.get(host, [host])
        return [entry for address in found for entry in ask(address, port, **options)]

    monkeypatch.setattr(webhook_targets.socket, "getaddrinfo", look_up)
    return known


def go(url, networks=""):
    return addresses(parse(url), networks_of(networks))


def why(url, networks=""):
    with pytest.raises(InvalidInput) as refused:
        go(url, networks)
    (error,) = refused.value.errors
    assert error["pointer"] == "/url"
    return error["message"]


@pytest.mark.parametrize("url", INSIDE)
def test_no_spelling_of_an_address_inside_is_reached(url):
    assert why(url)


@pytest.mark.parametrize("url", WRONG_SCHEMES)
def test_other_schemes_are_refused(url):
    assert why(url).startswith("must be a URL")


@pytest.mark.parametrize("port", CLOSED)
def test_ports_of_other_services_are_refused(port):
    assert "port" in why(f"https://example.com:{port}/")
    assert "port" in why(f"http://127.0.0.1:{port}/", "127.0.0.0/8")


@pytest.mark.parametrize("host", OUTSIDE)
def test_public_names_are_reached_over_https_alone(host):
    assert go(f"https://{host}/hook?key=1") == [OUTSIDE[host]]
    assert go(f"https://{host}:8443/") == [OUTSIDE[host]]
    assert why(f"http://{host}/") == "must begin with https://"


def test_a_name_that_leads_inside_by_one_of_its_addresses_is_refused(names):
    names["rebind.example"] = ["93.184.215.14", "127.0.0.1"]
    assert why("https://rebind.example/") == "leads to an address that webhooks may not reach"


def test_networks_of_the_settings_are_reached_over_http_too():
    assert go("http://127.0.0.1:8001/", "10.0.0.0/8, 127.0.0.0/8") == ["127.0.0.1"]
    assert go("https://127.0.0.1:8001/", "127.0.0.1/32") == ["127.0.0.1"]
    assert why("http://127.0.0.2:8001/", "127.0.0.1/32").startswith("leads to")


def test_what_is_checked_is_what_is_asked_for():
    found = parse("HTTPS://Example.COM:8443/a%20b/../c?x=1&y=http://z/")
    assert (found.scheme, found.host, found.port) == ("https", "example.com", 8443)
    assert found.path == "/a%20b/../c?x=1&y=http://z/"
    assert (found.shown, found.authority) == (
        "https://example.com:8443",
        "example.com:8443",
    )  # a log must not hold the rest
    assert parse("https://example.com").path == "/"


def test_a_look_up_has_an_end(monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: let_go.wait(60) and [])
    with pytest.raises(TimeoutError):
        addresses(parse("https://slow.example/"), (), 0.1)
    let_go.set()


def test_a_name_that_cannot_be_written_is_not_known(monkeypatch):
    def idna(*_, **__):
        raise UnicodeError("label too long")

    monkeypatch.setattr(socket, "getaddrinfo", idna)
    with pytest.raises(OSError, match="label too long"):
        go("https://long.example/")


def test_a_long_url_is_refused():
    assert why("https://example.com/" + "a" * 2000) == "is too long"


@pytest.mark.parametrize("text", ["10.0.0.0/40", "localhost", "10.0.0.1/8"])
def test_networks_must_be_networks(make_settings, text):
    with pytest.raises(ValueError, match="webhook_networks"):
        make_settings(webhook_networks=text)
