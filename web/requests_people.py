"""The bodies of the API about people: users, quotas, invitations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from web.requests import Strict, one_line

LARGEST = 2**31 - 1
LARGEST_BYTES = 2**60


class UserRequest(Strict):
    """The body of POST /users."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    admin: bool = False


class QuotaChange(Strict):
    """What a user may hold; null is the installation's default, 0 is nothing."""

    max_queued_jobs: int | None = Field(None, ge=0, le=LARGEST)
    max_running_jobs: int | None = Field(None, ge=0, le=LARGEST)
    max_storage_bytes: int | None = Field(None, ge=0, le=LARGEST_BYTES)
    max_device_seconds_a_day: float | None = Field(None, ge=0, le=1e9)


class UserChange(Strict):
    """The body of PATCH /users/ID."""

    active: bool | None = None
    role: Literal["user", "admin"] | None = None
    quota: QuotaChange | None = None
    weight: float | None = Field(None, ge=0.01, le=100)


class WorkerChange(Strict):
    """The body of PATCH /workers/ID."""

    draining: bool


class InvitationRequest(Strict):
    """The body of POST /invitations."""

    note: Annotated[str, Field(max_length=200), AfterValidator(one_line)] = ""
    expires_days: int = Field(7, ge=1, le=365)
    uses: int = Field(1, ge=1, le=1000)
