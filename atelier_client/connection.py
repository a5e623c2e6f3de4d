"""HTTP with the token, with retries where a repeated call does no harm, and with errors turned into ours."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from atelier_client.errors import ApiError, Unreachable, raise_for

Object = dict[str, Any]

API = "/api/v1"
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Connection:
    def __init__(
        self,
        url: str,
        token: str,
        patience: float,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 30.0,
    ) -> None:
        # how long a call that may be repeated is repeated while the server cannot be reached
        self.patience = patience
        self.url = url.rstrip("/")
        self.http = httpx.Client(
            base_url=self.url + API,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            transport=transport,
        )

    def get(self, path: str, **params: Any) -> Object:
        return self.ask("GET", path, params=given(params)).json()  # type: ignore[no-any-return]

    def ask(self, method: str, path: str, *, repeat: bool = True, **options: Any) -> httpx.Response:
        """One call; `repeat` says that doing it twice is doing it once. What was never sent is repeated anyway."""
        deadline = time.monotonic() + self.patience
        pause = FIRST_PAUSE
        while True:
            try:
                return self._ask_once(method, path, **options)
            except (Unreachable, ApiError) as error:
                if isinstance(error, ApiError) and error.retry_after is None:
                    raise
                if not repeat and getattr(error, "sent", True):
                    raise
                # the server knows best; otherwise longer each time, and not all callers in one moment
                wait = error.retry_after or pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
                if time.monotonic() + wait > deadline:
                    raise
                time.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE)

    def delete(self, path: str, force: bool = False) -> None:
        """Gone is gone: when the answer to a first call was lost, the second one finds nothing."""
        deadline = time.monotonic() + self.patience
        params = {"force": "1"} if force else {}
        lost = False
        while True:
            try:
                self.ask("DELETE", path, params=params, repeat=False)
                return
            except ApiError as error:
                if lost and error.status == 404:
                    return
                raise
            except Unreachable as error:
                lost = True
                wait = error.retry_after or FIRST_PAUSE
                if time.monotonic() + wait > deadline:
                    raise
                time.sleep(wait)

    def _ask_once(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self.http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        raise_for(response)
        return response

    @contextmanager
    def stream(
        self, method: str, path: str, headers: dict[str, str], **options: Any
    ) -> Iterator[httpx.Response]:
        try:
            with self.http.stream(method, path, headers=headers, **options) as response:
                if response.status_code != 416:
                    raise_for(response)
                yield response
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        return Unreachable(f"cannot reach {self.url}: {error}", sent=sent)

    def pages(self, path: str, **params: Any) -> Iterator[Object]:
        """Every item of a list, page after page."""
        after = None
        while True:
            page = self.get(path, after=after, **params)
            yield from page["items"]
            after = page.get("next")
            if not after:
                return


def given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
