"""What the client raises: refused by the server, not reachable, or a download that came out wrong."""

from __future__ import annotations

from typing import Any

import httpx


class ClientError(Exception):
    """Whatever this client raises on purpose."""


class Unreachable(ClientError):
    """The server did not answer, or said that it cannot right now."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BrokenDownload(ClientError):
    """The bytes that came are not those that the server described."""


class JobFailed(ClientError):
    """A job whose result was asked for has failed or was cancelled; `job` is the job."""

    def __init__(self, job: dict[str, Any]) -> None:
        error = job.get("error") or {}
        why = f": {error['message']} ({error['code']})" if error else ""
        super().__init__(f"job {job['id']} has {job['state']}{why}")
        self.job = job


class ApiError(ClientError):
    """The server refused; `errors` names the fields: [{"pointer": "/params/steps", "message": …}]."""

    def __init__(self, status: int, code: str, detail: str, body: dict[str, Any]) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.body = body
        self.errors: list[dict[str, str]] = body.get("errors") or []
        # for 429: when it may be tried again
        self.retry_after: float | None = None

    def __str__(self) -> str:
        fields = "".join(f"\n  {e.get('pointer', '')}: {e.get('message', '')}" for e in self.errors)
        return f"{self.detail} ({self.code}){fields}"


def raise_for(response: httpx.Response) -> None:
    """Nothing for 2xx and 304; Unreachable for 502 to 504; ApiError for everything else."""
    if response.is_success or response.status_code == 304:
        return
    response.read()
    body = _problem(response)
    detail = str(body.get("detail") or body.get("title") or response.reason_phrase)
    if response.status_code in (502, 503, 504):
        raise Unreachable(detail, _seconds(response.headers.get("Retry-After")))
    code = str(body.get("code") or f"http_{response.status_code}")
    refused = ApiError(response.status_code, code, detail, body)
    if response.status_code == 429:
        refused.retry_after = _seconds(response.headers.get("Retry-After"))
    raise refused


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
