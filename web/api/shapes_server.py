"""The shapes of answers about the server and its people: families, accounts, tokens, the queue, health."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from web.api.shapes_schema import Count, Id, Moment, Object, Place, Seconds


class Action(BaseModel):
    json_schema: Object = Field(alias="schema", description="JSON Schema 2020-12 of `params`.")
    example: Object
    presets: list[Object] = Field(
        description="Named ways to fill it in: name, title, and params that differ from the defaults."
    )


class Family(BaseModel):
    """A kind of model that some worker can train and run."""

    name: str
    version: int
    title: str
    summary: str
    modality: str
    dataset_kind: str | None
    online: bool
    doc: str | None
    accepts: list[str]
    actions: dict[str, Action]


class FamilyList(BaseModel):
    items: list[Family]
    next: str | None


class Quota(BaseModel):
    max_queued_jobs: Count
    max_running_jobs: Count | None = Field(description="Null is no limit.")
    max_storage_bytes: Count
    max_device_seconds_a_day: Seconds | None = Field(description="Null is no limit.")


class Use(BaseModel):
    queued_jobs: Count
    running_jobs: Count
    storage_bytes: Count
    device_seconds: Seconds
    device_seconds_today: Seconds
    device_seconds_reserved: Seconds = Field(description="What unfinished jobs may still use.")


class Me(BaseModel):
    id: Id
    name: str
    roles: list[str]
    created_at: Moment
    quota: Quota
    use: Use


class Token(BaseModel):
    id: Id
    name: str
    prefix: str
    scopes: list[str] = Field(description="None: all that its owner may do.")
    created_at: Moment
    expires_at: Moment | None
    used_at: Moment | None


class TokenList(BaseModel):
    items: list[Token]
    next: str | None


class NewToken(Token):
    """A token with its secret, which is shown this once."""

    token: str


class Lane(BaseModel):
    queued: Count
    running: Count
    mine: Count
    others: Count


class QueuedJob(Place):
    id: Id
    name: str
    kind: str
    family: str
    lane: str
    state: str
    paused: bool


class WorkerLoad(BaseModel):
    jobs: Count = Field(description="Running there now.")
    mine: Count


class WorkerShown(BaseModel):
    id: str
    kind: str
    device: str
    state: str
    families: list[str]
    started_at: Moment
    heartbeat_at: Moment
    running: WorkerLoad


class Device(BaseModel):
    """What runs jobs, as its worker describes it; null where it does not say."""

    worker_id: str
    device: str
    name: str | None
    memory_bytes: Count | None
    memory_used_bytes: Count | None = Field(
        description="In use on it by anybody; of a CPU, by what runs the jobs."
    )
    problem: str | None = Field(description="Why jobs do not get what this machine has.")
    threads: Count | None
    flops_per_second: Seconds | None
    state: str
    heartbeat_at: Moment
    running: WorkerLoad


class Queue(BaseModel):
    lanes: dict[str, Lane]
    jobs: list[QueuedJob] = Field(description="Your own, by their turn.")
    devices: list[Device]
    workers: list[WorkerShown]


class Alive(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    families: Count
    workers: Count
