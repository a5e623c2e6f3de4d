"""Every error raised on purpose. The docstring is the default message; status, code and permanence are attributes."""

from __future__ import annotations

import math
from typing import Any


class AppError(Exception):
    """Something went wrong."""

    status = 500
    code = "internal"
    permanent = True
    headers: dict[str, str] = {}

    def __init__(self, message: str = "", **facts: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.facts = facts
        super().__init__(self.message)


class BadSettings(AppError):
    """The settings are wrong."""

    code = "bad_settings"


class DatabaseTooNew(AppError):
    """The database was written by a newer Atelier; install that version or restore a backup."""

    code = "database_too_new"


class InvalidInput(AppError):
    """Some of the input is not valid."""

    status = 422
    code = "invalid_input"

    def __init__(self, message: str = "", errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        # [{"pointer": "/params/steps", "message": "must be at least 1"}]
        self.errors = errors or []


class BadRequest(AppError):
    """The request could not be understood."""

    status = 400
    code = "bad_request"


class NotSignedIn(AppError):
    """Sign in, or send a valid API token."""

    status = 401
    code = "not_signed_in"


class WrongPassword(AppError):
    """The name or the password is wrong."""

    status = 401
    code = "wrong_password"


class Forbidden(AppError):
    """You may not do this."""

    status = 403
    code = "forbidden"


class NotFound(AppError):
    """There is nothing here under this id."""

    status = 404
    code = "not_found"


class Conflict(AppError):
    """This is not possible in the present state."""

    status = 409
    code = "conflict"


class AlreadyEnded(Conflict):
    """The job has ended."""

    code = "already_ended"


class InUse(Conflict):
    """Other things depend on this."""

    code = "in_use"


class QuotaExceeded(Conflict):
    """Your quota is used up."""

    code = "quota_exceeded"


class TooLarge(AppError):
    """The body is too large."""

    status = 413
    code = "too_large"


class BadRange(AppError):
    """There is no such part of this file."""

    status = 416
    code = "bad_range"


class KindUnavailable(InvalidInput):
    """No family offers this kind of job."""

    code = "kind_unavailable"


class TooExpensive(InvalidInput):
    """This job would take longer than is allowed here."""

    code = "too_expensive"


class KeyReused(InvalidInput):
    """This Idempotency-Key was used with another body."""

    code = "idempotency_key_reused"


class TooManyRequests(AppError):
    """Too many attempts; wait a little."""

    status = 429
    code = "too_many_requests"

    def __init__(self, message: str = "", after: float = 30.0) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(max(1, math.ceil(after)))}


class Unavailable(AppError):
    """The service cannot do this right now; try again shortly."""

    status = 503
    code = "unavailable"
    permanent = False
    headers = {"Retry-After": "5"}


class StorageFull(Unavailable):
    """The disk is nearly full; nothing new is accepted until there is room."""

    status = 507
    code = "storage_full"


class StorageAway(Unavailable):
    """The storage does not answer; try again shortly."""

    code = "storage_away"


class OutOfMemory(AppError):
    """Memory ran out. A smaller batch_size, block_size or image_size, or a smaller model, needs less."""

    code = "oom"
    permanent = False  # a neighbour on the device may have had it


class LeaseLost(AppError):
    """This worker no longer holds the job."""

    status = 409
    code = "lease_lost"


class BadData(AppError):
    """The data cannot be used for this."""

    status = 422
    code = "bad_data"
