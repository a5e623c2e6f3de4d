"""What the client raises: refused by the server, not reachable, or a download that came out wrong."""

from __future__ import annotations

from typing import Any

import httpx


class ClientError(Exception):
    """Whatever this client raises on purpose."""


class Unreachable(ClientError):
    """The server did not answer, or said that it cannot right now. `sent`: it may have got the request."""

    def __init__(
        self, message: str, retry_after: float | None = None, *, sent: bool = True
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.sent = sent


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
    """The server refused. The fields are those of application/problem+json; `errors` names the fields that are wrong:
    [{"pointer": "/params/steps", "message": …}], `dependents` what stands in the way of a deletion."""

    def __init__(self, status: int, code: str, detail: str, body: dict[str, Any]) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.body = body
        self.type = str(body.get("type") or "about:blank")
        self.title = str(body.get("title") or "")
        self.request_id = str(body.get("request_id") or "")
        self.errors: list[dict[str, str]] = body.get("errors") or []
        self.dependents: list[dict[str, Any]] = body.get("dependents") or []
        # when it may be tried again, where the server says so
        self.retry_after: float | None = None

    def __str__(self) -> str:
        fields = "".join(f"\n  {e.get('pointer', '')}: {e.get('message', '')}" for e in self.errors)
        return f"{self.detail} ({self.code}){fields}"


class NotSignedIn(ApiError):
    """401: no token, or one that is wrong, expired or revoked."""


class NotAllowed(ApiError):
    """403: this token, or its owner, may not do that."""


class NotFound(ApiError):
    """404: there is no such thing, or it is somebody else's."""


class Conflict(ApiError):
    """409: the thing is not in a state for that, or others depend on it."""


class QuotaExceeded(Conflict):
    """409 quota_exceeded: its owner holds as much as he may; `body["quota"]` has the numbers."""


class InvalidInput(ApiError):
    """400, 413, 415, 422: what was sent cannot be taken; `errors` names the fields."""


class TooManyRequests(ApiError):
    """429: too fast; `retry_after` says when it may go on."""


BY_CODE: dict[str, type[ApiError]] = {"quota_exceeded": QuotaExceeded}
BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidInput,
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    415: InvalidInput,
    422: InvalidInput,
    429: TooManyRequests,
}


def raise_for(response: httpx.Response) -> None:
    """Nothing for 2xx and 304; Unreachable for 502 to 504; ApiError for everything else."""
    if response.is_success or response.status_code == 304:
        return
    response.read()
    body = _problem(response)
    detail = str(body.get("detail") or body.get("title") or response.reason_phrase)
    if response.status_code in (502, 503, 504):
        raise Unreachable(detail, _seconds(response.headers.get("Retry-After")))
    status = response.status_code
    code = str(body.get("code") or f"http_{status}")
    kind = BY_CODE.get(code) or BY_STATUS.get(status, ApiError)
    refused = kind(status, code, detail, body)
    if status == 429:
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
