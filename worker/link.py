"""The link between supervisor and runner: every message, typed, and how they travel.

Four bytes of length (big-endian), then one JSON object in UTF-8, over a socketpair. What the runner
sends is not trusted: unknown fields, long messages and file names with a path end the link.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

LARGEST_MESSAGE = 16 << 20
CHUNK = 1 << 16

# A file or folder in the run's folder: a bare name, so that nothing outside can be meant.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$")]
# Steps, indices: what every database and every reader of JSON takes
Number = Annotated[int, Field(ge=0, lt=1 << 53)]
LONGEST_TEXT = 1 << 20
JobKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}\.[0-9]{1,18}$")]
Facts = dict[str, Any]


class LinkClosed(Exception):
    """The other end is gone, or does not read."""


class BadMessage(Exception):
    """The other end sent something that is not a message."""


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: str


# Supervisor to runner


class Configure(Message):
    type: Literal["configure"] = "configure"
    folder: str
    device: str = "cpu"
    threads: int = Field(0, ge=0, le=1024)
    families: list[str] = []
    family_path: list[str] = []
    checkpoint_seconds: float = Field(60, gt=0)
    memory_bytes: int = Field(0, ge=0)
    producer: str = "Atelier"
    label_service: str = ""
    previews: bool = True


class DatasetHere(BaseModel):
    model_config = Message.model_config

    folder: str
    facts: Facts = {}


class ModelHere(BaseModel):
    model_config = Message.model_config

    folder: str
    id: str
    sha256: str
    facts: Facts = {}


class CheckpointHere(BaseModel):
    model_config = Message.model_config

    path: str
    step: int = Field(ge=0)


class Start(Message):
    type: Literal["start"] = "start"
    job: JobKey
    kind: Literal["train", "generate"]
    family: str
    family_version: int
    params: dict[str, Any]
    seed: int
    folder: str  # where its results go; all other paths are to be read only
    inputs: dict[str, str] = {}
    dataset: DatasetHere | None = None
    model: ModelHere | None = None
    checkpoint: CheckpointHere | None = None
    no_batch: bool = False
    resumable: bool = True
    splits: int = Field(1, ge=1, le=64)  # so many times more micro-batches: memory ran out
    continues_step: int | None = None  # the step of another training that this one goes on from


class Drain(Message):
    type: Literal["drain"] = "drain"
    job: JobKey
    why: str = ""


class Cancel(Message):
    type: Literal["cancel"] = "cancel"
    job: JobKey


class Stop(Message):
    type: Literal["stop"] = "stop"


# Runner to supervisor


class Problem(BaseModel):
    model_config = Message.model_config

    file: str
    message: str


class Hello(Message):
    type: Literal["hello"] = "hello"
    pid: int
    device: str
    facts: Facts
    families: list[dict[str, Any]]
    problems: list[Problem] = []


class Beat(Message):
    type: Literal["beat"] = "beat"
    # device-seconds that each job used since the last beat
    used: dict[JobKey, Annotated[float, Field(ge=0)]] = {}
    # every job that was started and has not been told to have ended; None when this is not the place
    holds: list[JobKey] | None = None
    memory_bytes: int = Field(0, ge=0)  # of the device, in use by anybody; of a CPU, by the runner


class Progress(Message):
    type: Literal["progress"] = "progress"
    job: JobKey
    step: Number
    total: Number


class Metrics(Message):
    type: Literal["metrics"] = "metrics"
    job: JobKey
    # (step, seconds since the attempt began, {name: value}); null stands for what is not finite
    points: list[tuple[int, float, dict[str, float | None]]]


class Log(Message):
    type: Literal["log"] = "log"
    job: JobKey
    text: str


class Preview(Message):
    type: Literal["preview"] = "preview"
    job: JobKey
    step: Number
    index: Number
    file: Name
    media_type: str


class Text(Message):
    type: Literal["text"] = "text"
    job: JobKey
    index: Number
    text: str = Field(max_length=LONGEST_TEXT)


class Checkpoint(Message):
    type: Literal["checkpoint"] = "checkpoint"
    job: JobKey
    step: Number
    file: Name
    score: float | None = None  # the best so far


class Output(Message):
    type: Literal["output"] = "output"
    job: JobKey
    index: Number
    role: str
    name: Name
    file: Name
    media_type: str
    seed: int
    metrics: dict[str, float | None] = {}
    label: dict[str, Any] = {}


class ModelMade(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    folder: Name
    # "schema" would hide a method of pydantic's own
    schema_: dict[str, Any] = Field(alias="schema")
    facts: Facts


class Done(Message):
    type: Literal["done"] = "done"
    job: JobKey
    metrics: dict[str, Any] = {}
    model: ModelMade | None = None
    build: Facts = {}
    seconds: float = Field(0, ge=0)


class Drained(Message):
    type: Literal["drained"] = "drained"
    job: JobKey
    step: Number = 0


class Cancelled(Message):
    type: Literal["cancelled"] = "cancelled"
    job: JobKey


class Failed(Message):
    type: Literal["failed"] = "failed"
    job: JobKey
    code: str
    message: str
    permanent: bool


FromSupervisor = Annotated[Configure | Start | Drain | Cancel | Stop, Field(discriminator="type")]
FromRunner = Annotated[
    Hello
    | Beat
    | Progress
    | Metrics
    | Log
    | Preview
    | Text
    | Checkpoint
    | Output
    | Done
    | Drained
    | Cancelled
    | Failed,
    Field(discriminator="type"),
]
FROM_SUPERVISOR: TypeAdapter[Any] = TypeAdapter(FromSupervisor)
FROM_RUNNER: TypeAdapter[Any] = TypeAdapter(FromRunner)


class Link:
    """One end of the socketpair. Any thread may send; one thread receives."""

    def __init__(
        self, sock: socket.socket, reads: TypeAdapter[Any], *, send_seconds: float | None = None
    ) -> None:
        """`reads` is what the other end may say. A send that takes longer than `send_seconds`
        raises LinkClosed, so that a runner that does not read cannot hold the supervisor."""
        self._sock = sock
        self._reads = reads
        self._sending = threading.Lock()
        self._buffer = bytearray()
        sock.settimeout(send_seconds)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @classmethod
    def to_runner(cls, sock: socket.socket, send_seconds: float = 10) -> Link:
        """The supervisor's end."""
        return cls(sock, FROM_RUNNER, send_seconds=send_seconds)

    @classmethod
    def to_supervisor(cls, sock: socket.socket) -> Link:
        """The runner's end."""
        return cls(sock, FROM_SUPERVISOR)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Message) -> None:
        data = message.model_dump_json(by_alias=True).encode()
        if len(data) > LARGEST_MESSAGE:
            raise BadMessage(f"{message.type}: {len(data):,} bytes are too many")
        with self._sending:
            try:
                self._sock.sendall(struct.pack(">I", len(data)) + data)
            except OSError as error:
                raise LinkClosed(str(error)) from error

    def receive(self, timeout: float | None = None) -> Any:
        """The next message; None when `timeout` seconds bring none (0 looks without waiting)."""
        # by a deadline: a peer that trickles bytes must not hold us longer than asked
        until = None if timeout is None else time.monotonic() + timeout
        message = self._complete()
        while message is None:
            wait = None if until is None else max(0.0, until - time.monotonic()) * 1000
            if not self._poll.poll(wait):
                return None
            self._fill()
            message = self._complete()
            if message is None and until is not None and time.monotonic() > until:
                return None
        return message

    def _fill(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
        except OSError as error:
            raise LinkClosed(str(error)) from error
        if not data:
            raise LinkClosed("the other end closed the link")
        self._buffer += data

    def _complete(self) -> Any:
        if len(self._buffer) < 4:
            return None
        (length,) = struct.unpack_from(">I", self._buffer)
        if length > LARGEST_MESSAGE:
            raise BadMessage(f"a message of {length:,} bytes is too long")
        if len(self._buffer) < 4 + length:
            return None
        data = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        try:
            return self._reads.validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise BadMessage(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def close(self) -> None:
        self._sock.close()
