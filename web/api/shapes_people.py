"""The shapes of answers for administrators: people, invitations, the audit, the disk."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from web.api.shapes_schema import Count, Id, Moment, Object, Seconds
from web.api.shapes_server import Quota, Use

Role = Literal["user", "admin"]


class OwnQuota(BaseModel):
    """What was set for one user; null is the installation's default."""

    max_queued_jobs: Count | None
    max_running_jobs: Count | None
    max_storage_bytes: Count | None
    max_device_seconds_a_day: Seconds | None


class User(BaseModel):
    """An account with what it may hold and holds."""

    id: Id
    name: str
    role: Role
    active: bool
    has_password: bool
    created_at: Moment
    weight: float = Field(description="Of the share of devices.")
    quota: OwnQuota
    limits: Quota = Field(description="What holds, defaults written out.")
    use: Use


class UserList(BaseModel):
    items: list[User]
    next: str | None


class Link(BaseModel):
    link: str = Field(description="Hand it out; it works once and cannot be read again.")


class NewUser(User):
    """An account with the one-time link that sets its password."""

    link: str


class Worker(BaseModel):
    """A process that runs jobs, or short tasks."""

    id: str
    kind: Literal["device", "cpu"]
    host: str
    pid: Count
    device: str
    facts: Object
    families: list[str]
    state: str
    drain_requested: bool
    started_at: Moment
    heartbeat_at: Moment


class WorkerList(BaseModel):
    items: list[Worker]
    next: str | None


class ActiveJob(BaseModel):
    """A job of anybody's that waits or runs: whose, but not what it is about."""

    id: Id
    owner: str
    kind: str
    family: str
    lane: str
    state: Literal["queued", "running"]
    paused: bool
    cancel_requested: bool
    worker: str | None = Field(description="The id of who runs it.")
    attempt: Count
    device_seconds: Seconds
    created_at: Moment
    started_at: Moment | None


class ActiveJobList(BaseModel):
    items: list[ActiveJob]
    more: bool = Field(description="There are more than these.")


class Invitation(BaseModel):
    id: Id
    note: str
    uses: Count
    used: Count
    created_by: Id | None
    created_at: Moment
    expires_at: Moment


class InvitationList(BaseModel):
    items: list[Invitation]
    next: str | None


class NewInvitation(Invitation):
    """An invitation with its link, which is shown this once."""

    link: str


class Actor(BaseModel):
    id: Id
    name: str


class Subject(BaseModel):
    type: str
    id: Id
    name: str


class AuditEntry(BaseModel):
    """Who did what to whom, and when."""

    id: Id
    at: Moment
    actor: Actor | None = Field(description="Null: the command line, or somebody not signed in.")
    action: str
    subject: Subject | None
    address: str
    facts: Object


class AuditEntryList(BaseModel):
    items: list[AuditEntry]
    next: str | None


class Held(BaseModel):
    count: Count
    bytes: Count


class Sweep(BaseModel):
    id: Id
    why: str
    started_at: Moment
    finished_at: Moment | None
    removed: Object = Field(description="Of each class its files, bytes and rows.")
    bytes: Count
    files: Count
    rows: Count
    free_bytes_before: Count | None
    free_bytes_after: Count | None


class Storage(BaseModel):
    """What lies on the disk, by class, and what the last sweeps freed."""

    disk: Object
    used: dict[str, Held]
    measured_at: Moment | None
    sweeps: list[Sweep]


class SweepOrdered(BaseModel):
    id: Id = Field(description="Of the sweep, once it has begun.")
