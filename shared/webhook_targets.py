"""Where webhooks may be sent. The one rule against a server that asks its own network for a stranger (SSRF): asked when
a URL is saved, and again of the very address that is connected to, since names may change what they mean.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
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
# IPv6 addresses that lead to an IPv4 one, which they may hide
BRIDGES = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")))


@dataclass(frozen=True)
class Target:
    """A URL that was taken apart once: what is checked is what is connected to."""

    scheme: str
    host: str
    port: int
    path: str  # with the query

    @property
    def shown(self) -> str:
        """For logs and the audit: the rest may be a secret."""
        return f"{self.scheme}://{self.host}:{self.port}"


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
    if not (_is_address(host) or (len(host) <= 253 and NAME.fullmatch(host))):
        raise _refused("must be a URL like https://example.com/hook")
    if (port < FIRST_FREE_PORT and port not in PORTS.values()) or port in CLOSED_PORTS:
        raise _refused("must use port 443, 80 or one above 1023 that no database is known by")
    path = parts.path or "/"
    return Target(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path)


def addresses(target: Target, networks: Sequence[Network]) -> list[str]:
    """Where the name leads now; blocks for as long as resolvers do.

    Raises InvalidInput unless all of them may be reached, and OSError when the name is not known. Plain http is for
    the networks that the settings open, where certificates are rare.
    """
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    unique = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(_may_reach(address, networks) for address in unique):
        raise _refused("leads to an address that webhooks may not reach")
    if target.scheme == "http" and not all(_is_in(address, networks) for address in unique):
        raise _refused("must begin with https://")
    return unique


def networks_of(text: str) -> tuple[Network, ...]:
    """Of the setting: CIDRs with commas. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _may_reach(address: str, networks: Sequence[Network]) -> bool:
    ip = ipaddress.ip_address(address)
    if _is_in(address, networks):
        return True
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped or ip.teredo or any(ip in bridge for bridge in BRIDGES):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in network for network in networks)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refused(why: str) -> InvalidInput:
    return InvalidInput(errors=[{"pointer": "/url", "message": why}])
