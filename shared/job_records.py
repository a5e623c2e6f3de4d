"""What is handed to shared/jobs.py: new jobs, reports and outcomes, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Lease(NamedTuple):
    """The right to write about a running job: it ends when the fence moves on."""

    job_id: str
    fence: int


@dataclass(frozen=True)
class Flags:
    """What the holder of a job must know after a heartbeat."""

    cancel: bool = False
    pause: bool = False
    deadline: bool = False


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job as it is accepted: every default written out."""

    user_id: str
    kind: str
    family: str
    family_version: int
    params: dict[str, Any]
    seed: int
    lane: str
    name: str = ""
    priority: int = 0
    estimate_seconds: float | None = None
    cost: dict[str, float | None] = field(default_factory=dict)
    dataset_id: str | None = None
    model_id: str | None = None
    model_sha256: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    waits_for: str | None = None
    retry_of: str | None = None
    continues: str | None = None
    continues_step: int | None = None
    deadline_seconds: float | None = None
    progress_step: int = 0
    progress_total: int = 0
    checkpoint_step: int = 0
    # the installation's defaults, for users whose quota says nothing; 0 device-seconds is no limit
    max_queued_jobs: int = 10_000
    max_device_seconds_a_day: float = 0.0


@dataclass(frozen=True, kw_only=True)
class NewArtifact:
    """A file that lies in storage and waits for its row."""

    index: int
    name: str
    media_type: str
    bytes: int
    sha256: str
    location: str
    seed: int = 0
    role: str = "output"
    metrics: dict[str, Any] = field(default_factory=dict)
    label: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """A model folder that lies in storage and waits for its row."""

    id: str
    location: str
    files: dict[str, Any]
    sha256: str
    bytes: int
    generate_schema: dict[str, Any]
    facts: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that a succeeded job made."""

    artifacts: list[NewArtifact] = field(default_factory=list)
    model: NewModel | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0  # device-seconds since the last heartbeat
    beside: frozenset[str] = frozenset()  # kinds of the jobs that were on the device with it


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a running job has to say, at most once a second."""

    step: int | None = None
    total: int | None = None
    points: list[list[Any]] = field(default_factory=list)  # [[step, seconds, {name: value}], ...]
    log: str = ""
    previews: list[tuple[int, NewArtifact]] = field(default_factory=list)  # (step, file)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (type, data)
