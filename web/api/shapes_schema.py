"""The shapes of answers about jobs and what they take and make; a test compares them with real answers.

Clients must not stumble over fields that are added later, so no shape is closed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(max_length=64, examples=["01k2v8m5q3x6rqb"])]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Visibility = Literal["private", "shared"]
Object = dict[str, Any]


class FieldProblem(BaseModel):
    pointer: str = Field(description="JSON pointer to the field.")
    message: str


class Dependent(BaseModel):
    type: str
    id: Id | None = Field(None, description="Only of what is your own.")
    count: Count | None = Field(None, description="How many of other people's.")


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str
    request_id: str = Field(description="Find it in the server's log.")
    errors: list[FieldProblem] | None = None
    dependents: list[Dependent] | None = None


class Progress(BaseModel):
    step: Count
    total_steps: int | None
    fraction: float = Field(ge=0, le=1)
    eta_seconds: Seconds | None


class Place(BaseModel):
    position: Count | None = Field(description="1 is next.")
    estimated_start_at: Moment | None
    reason: str | None = Field(description="Why it is not running yet, in one word.")
    waiting: str | None = Field(description="What your own quota holds up, in words.")


class Failure(BaseModel):
    code: str
    message: str


class Artifact(BaseModel):
    """One file that a job made."""

    id: Id
    job_id: Id
    media_type: str
    bytes: Count
    sha256: Sha256
    name: str
    index: int
    role: str = Field(description="output, grid, preview or thumbnail.")
    seed: int
    metrics: Object
    label: Object = Field(description="Says that it is generated.")
    created_at: Moment


class Result(Artifact):
    """A result with how it was made, and what you noted on it."""

    job_id: Id | None = Field(description="Null when it is somebody else's.")  # type: ignore[assignment]
    mine: bool
    visibility: Visibility
    starred: bool = Field(description="By you.")
    tags: list[str] = Field(description="Your own.")
    family: str
    family_version: int
    model_id: Id | None
    params: Object
    job_seed: int = Field(description="The seed of the job; `seed` is that of this one sample.")


class ResultList(BaseModel):
    items: list[Result]
    next: str | None


class JobResult(BaseModel):
    model_id: Id | None
    artifacts: list[Artifact]
    metrics: Object
    build: Object


class Job(BaseModel):
    """A piece of work, from its acceptance on."""

    id: Id
    kind: str
    family: str
    family_version: int
    name: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    params: Object = Field(description="With every default written out.")
    seed: int
    progress: Progress
    queue: Place
    lane: str
    priority: int
    attempt: Count
    error: Failure | None
    device_seconds: Seconds
    estimate_seconds: Seconds | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    deadline_at: Moment | None
    dataset_id: Id | None
    model_id: Id | None
    retry_of: Id | None
    continues: Id | None = Field(description="The job whose checkpoint it began with.")
    continues_step: Count | None
    waits_for: Id | None
    paused: bool
    cancel_requested: bool
    version: int = Field(description="Raised by every change; the ETag is made of it.")
    result: JobResult | None


class EstimateParts(BaseModel):
    """Device-seconds, and what the family says they are made of."""

    model_config = ConfigDict(extra="allow")

    seconds: Seconds | None
    low: Seconds | None
    high: Seconds | None
    basis: str | None = Field(description="What it is judged by.")


class Estimate(BaseModel):
    """What a dry run found."""

    kind: str
    family: str
    family_version: int
    params: Object
    lane: str
    estimate_seconds: Seconds | None
    estimate: EstimateParts
    queue: Place
    dry_run: bool


class Preview(BaseModel):
    """A picture that a training drew on its way."""

    step: Count
    index: Count
    artifact: Artifact


class PreviewList(BaseModel):
    items: list[Preview]
    next: str | None


class Checkpoint(BaseModel):
    """What a training can go on from, or become a model at."""

    step: Count
    bytes: Count
    created_at: Moment
    score: float | None
    best: bool
    final: bool
    metrics: Object


class CheckpointList(BaseModel):
    items: list[Checkpoint]
    next: str | None


class JobList(BaseModel):
    items: list[Job]
    next: str | None


class Event(BaseModel):
    n: Count
    type: str = Field(description="state, progress, metrics, preview, log or result.")
    at: Moment
    data: Object


class EventList(BaseModel):
    items: list[Event]
    next: int | None


class Ended(BaseModel):
    """A job that has reached its final state."""

    job_id: Id
    kind: str
    family: str
    name: str
    state: Literal["succeeded", "failed", "cancelled"]
    at: Moment


class EndedList(BaseModel):
    items: list[Ended]
    next: str = Field(description="Where to go on.")
    active: Count = Field(description="How many of one's jobs still wait or run.")


class Metrics(BaseModel):
    series: dict[str, list[list[float | None]]] = Field(
        description="Of each name its points: [step, seconds, value]."
    )


class Dataset(BaseModel):
    id: Id
    name: str
    kind: str | None
    state: Literal["checking", "ready", "refused"]
    items: Count
    bytes: Count
    sha256: Sha256 | None
    problems: list[Object]
    warnings: list[str]
    can_accept: bool = Field(description="Refused, but usable without its bad files.")
    visibility: Visibility
    mine: bool
    source: str
    facts: Object
    note: str
    created_at: Moment | None


class DatasetList(BaseModel):
    items: list[Dataset]
    next: str | None


class DatasetItem(BaseModel):
    n: Count
    name: str
    media_type: str
    bytes: Count
    sha256: Sha256
    label: str | None
    caption: str | None
    facts: Object


class DatasetItemList(BaseModel):
    items: list[DatasetItem]
    next: str | None


class DatasetPreview(BaseModel):
    """What to know of a dataset before it is used."""

    kind: str
    items: Count
    samples: list[Object]
    labels: list[Object] = Field(description="The most frequent, each with its number of items.")
    classes: Count
    unlabelled: Count
    captions: Count
    sizes: Object = Field(description="Of each measure its spread.")
    channels: dict[str, Count]
    changes: dict[str, Count]
    duplicates: Object
    warnings: list[str]


class UploadState(BaseModel):
    """A file that arrives piece by piece; complete when `offset` is `length`."""

    id: Id
    name: str
    length: Count
    offset: Count
    created_at: Moment
    expires_at: Moment


class UploadList(BaseModel):
    items: list[UploadState]
    next: str | None


class Model(BaseModel):
    """A trained model."""

    id: Id
    name: str
    family: str
    family_version: int
    visibility: Visibility
    mine: bool
    job_id: Id | None
    dataset_id: Id | None
    generate_schema: Object = Field(description="JSON Schema of what this very model takes.")
    facts: Object
    metrics: Object
    files: Object
    bytes: Count
    sha256: Sha256
    licence_note: str
    created_at: Moment


class ModelList(BaseModel):
    items: list[Model]
    next: str | None


class Origin(BaseModel):
    id: Id | None = Field(description="Null when it is somebody else's.")
    sha256: str | None = None
    name: str | None = None
    seed: int | None = None


class ModelLineage(BaseModel):
    job: Origin | None
    dataset: Origin | None


class ModelCard(Model):
    """A trained model with where it comes from."""

    params: Object | None
    seed: int | None
    lineage: ModelLineage


class Lineage(BaseModel):
    artifact: Origin
    job: Origin | None
    model: Origin | None
    training_job: Origin | None
    dataset: Origin | None
