"""One POST to an address that a user named: no redirect, no proxy, nothing read but the status, 15 seconds at most.

The name is looked up here, its addresses are checked, and one of those is connected to: there is no second look-up
whose answer could differ.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import certifi
import httpcore

from shared import webhook_targets
from shared.errors import InvalidInput
from shared.webhook_targets import Network
from shared.webhooks import Reply

LONGEST_SECONDS = 15.0
MOST_BYTES = 65_536


def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    networks: Sequence[Network],
    seconds: float = LONGEST_SECONDS,
) -> Reply:
    """Never raises for what the receiver does; says it."""
    until = time.monotonic() + seconds
    try:
        target = webhook_targets.parse(url)
        look_up = min(seconds, webhook_targets.LOOK_UP_SECONDS)
        found = webhook_targets.addresses(target, networks, look_up)
    except InvalidInput:
        return Reply(error="refused")
    except OSError:
        return Reply(error="unresolved")
    place = httpcore.URL(
        scheme=target.scheme, host=target.host, port=target.port, target=target.path
    )
    context = _tls() if target.scheme == "https" else None
    # httpcore writes an IPv6 address without its brackets
    sent = [("Host", target.authority), *headers.items()]
    try:
        with httpcore.ConnectionPool(
            ssl_context=context, network_backend=_Pinned(found, until)
        ) as pool:
            with pool.stream("POST", place, headers=sent, content=body) as response:
                return _judged(response.status)
    except httpcore.TimeoutException:
        return Reply(error="timeout")
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        return Reply(error="tls" if _is_about_tls(error) else "connection")


def _judged(status: int) -> Reply:
    if 200 <= status < 300:
        return Reply(status)
    return Reply(status, "redirect" if 300 <= status < 400 else "status")


@cache
def _tls() -> ssl.SSLContext:
    """The machine's authorities, which may have one of the house; certifi's where an image has none."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    return context


def _is_about_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Pinned(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever the host's name means by now."""

    def __init__(self, addresses: Sequence[str], until: float) -> None:
        self._addresses, self._until = addresses, until
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        for tried, address in enumerate(self._addresses[:-1]):
            # IPv6 where there is none, or where it leads nowhere: each has its share of the time
            share = _left(self._until) / (len(self._addresses) - tried)
            try:
                return self._connect(address, port, share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(self._addresses[-1], port, _left(self._until))

    def _connect(self, address: str, port: int, seconds: float) -> httpcore.NetworkStream:
        return _Hurried(self._sockets.connect_tcp(address, port, seconds), self._until)


class _Hurried(httpcore.NetworkStream):
    """A stream whose every wait ends at one moment, so that a byte a second gains no time."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream, self._until = stream, until
        self._read = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._read > MOST_BYTES:  # heads without end, of one answer or of many
            raise httpcore.ReadError("too much is answered")
        data = self._stream.read(max_bytes, _left(self._until))
        self._read += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._until))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _left(self._until))
        return _Hurried(stream, self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for a webhook is over")
    return left
