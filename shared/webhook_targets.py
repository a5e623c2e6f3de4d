"""Where webhooks may be sent. The one rule against a server that asks its own network for a stranger (SSRF): asked when
a URL is saved, and again of the very address that is connected to, since names may change what they mean.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.errors import InvalidInput

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_URL = 2000
URL = re.compile(r"https?://[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+", re.IGNORECASE)
LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
NAME = re.compile(rf"{LABEL}(\.{LABEL})*")
PORTS = {"http": 80, "https": 443}
FIRST_FREE_PORT = 1024
# databases, brokers, remote shells: what listens there takes a POST for commands
CLOSED_PORTS = frozenset(
    {1433, 1521, 2049, 2181, 2375, 2376, 3306, 3389, 4369, 5432, 5433, 5672, 5900, 5984, 6000, 6379}
    | {6380, 7000, 7001, 8086, 9042, 9092, 9200, 9300, 10250, 11211, 15672, 26379, 27017, 50000}
)
# What `is_global` lets pass, here or in another version of Python: addresses that hide an IPv4 one, that are some
# house's, that a provider of machines answers to its guests.
CLOSED = tuple(
    map(
        ipaddress.ip_network,
        (
            *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::ffff:0:0/96", "::/96"),
            *("fec0::/10", "3fff::/20", "100::/64", "192.0.0.0/24", "192.88.99.0/24"),
            "168.63.129.16/32",
        ),
    )
)
LOOK_UP_SECONDS = 5.0
MOST_LOOK_UPS = 64  # at once in this process, with those that nobody waits for any more

_look_ups = threading.BoundedSemaphore(MOST_LOOK_UPS)


@dataclass(frozen=True)
class Target:
    """A URL that was taken apart once: what is checked is what is connected to."""

    scheme: str
    host: str
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """Host and port as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """For logs and the audit: the rest may be a secret."""
        return f"{self.scheme}://{self.authority}"


def parse(url: str) -> Target:
    """Raises InvalidInput at /url for whatever is no plain https or http URL with an ordinary port."""
    if len(url) > LONGEST_URL:
        raise _refused("is too long")
    if not URL.fullmatch(url):
        raise _refused("must be a URL like https://example.com/hook, in ASCII and without a #part")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        port = PORTS[parts.scheme] if port is None else port
    except ValueError as error:
        raise _refused("must be a URL like https://example.com/hook") from error
    if "@" in parts.netloc:
        raise _refused("must not hold a name or a password")
    bracketed = f"[{host}]" if ":" in host else host
    # whatever else stands there, another reader might take for the host
    plainly = parts.netloc.lower() in (bracketed, f"{bracketed}:{parts.port}")
    if not plainly or not (_is_address(host) or (len(host) <= 253 and NAME.fullmatch(host))):
        raise _refused("must be a URL like https://example.com/hook")
    if (port < FIRST_FREE_PORT and port not in PORTS.values()) or port in CLOSED_PORTS:
        raise _refused("must use port 443, 80 or one above 1023 that no database is known by")
    path = parts.path or "/"
    return Target(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path)


def addresses(
    target: Target, networks: Sequence[Network], seconds: float = LOOK_UP_SECONDS
) -> list[str]:
    """Where the name leads now.

    Raises InvalidInput unless all of them may be reached, OSError when the name is not known, TimeoutError (which is
    one) when that takes more than `seconds`. Plain http is for the networks that the settings open, where
    certificates are rare.
    """
    found = _look_up(target, seconds)
    unique = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(_may_reach(address, networks) for address in unique):
        raise _refused("leads to an address that webhooks may not reach")
    if target.scheme == "http" and not all(_is_in(address, networks) for address in unique):
        raise _refused("must begin with https://")
    return unique


def _look_up(target: Target, seconds: float) -> list[tuple[Any, ...]]:
    """getaddrinfo, which knows no limit of time: who asks waits no longer, and not everybody may wait at once."""
    if not _look_ups.acquire(timeout=seconds):
        raise TimeoutError("too many names are being looked up")
    answer: Future[list[tuple[Any, ...]]] = Future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            answer.set_result(list(found))
        except Exception as error:
            # a name that IDNA cannot write is a UnicodeError
            answer.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
        finally:
            _look_ups.release()

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    return answer.result(timeout=seconds)


def networks_of(text: str) -> tuple[Network, ...]:
    """Of the setting: CIDRs with commas. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _may_reach(address: str, networks: Sequence[Network]) -> bool:
    ip = ipaddress.ip_address(address)
    if _is_in(address, networks):
        return True
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id or ip.is_site_local:
            return False
    if any(ip in network for network in CLOSED):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in network for network in networks)


def _is_address(host: str) -> bool:
    if "%" in host:  # a scope, which may be anything
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refused(why: str) -> InvalidInput:
    return InvalidInput(errors=[{"pointer": "/url", "message": why}])
