"""A job that this supervisor holds: lease, place on disk, and what it said that is not written."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from shared.job_records import Lease, NewArtifact, Report
from shared.models import Job
from worker import link

# A runner that talks too much must not fill our memory between two reports.
LONGEST_LOG = 1 << 18
MOST_POINTS = 5000
MOST_TEXTS = 100


class Phase(Enum):
    PREPARING = "preparing"  # inputs are being fetched
    RUNNING = "running"  # the runner has it
    CLOSING = "closing"  # the publisher writes its end
    DROPPED = "dropped"  # the lease is lost; the runner is told to let go


class Pending:
    """What a job reported since the last write. The supervisor and the publisher both add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._progress: tuple[int, int] | None = None
        self._points: list[list[Any]] = []
        self._log: list[str] = []
        self._log_length = 0
        self._previews: list[tuple[int, NewArtifact]] = []
        self._texts: dict[int, str] = {}

    def add(self, message: link.Message) -> None:
        with self._lock:
            if isinstance(message, link.Progress):
                self._progress = (message.step, message.total)
            elif isinstance(message, link.Metrics):
                self._points += [list(point) for point in message.points]
                del self._points[:-MOST_POINTS]
            elif isinstance(message, link.Text):
                if message.index in self._texts or len(self._texts) < MOST_TEXTS:
                    self._texts[message.index] = message.text
            elif isinstance(message, link.Log):
                self._add_log(message.text)

    def say(self, text: str) -> None:
        """A line of our own in the job's log."""
        with self._lock:
            self._add_log(text + "\n")

    def add_preview(self, step: int, artifact: NewArtifact) -> None:
        with self._lock:
            self._previews.append((step, artifact))

    def take(self) -> Report | None:
        """All of it as one report, and forgets it; None when there is nothing."""
        with self._lock:
            texts: list[tuple[str, dict[str, Any]]] = [
                ("preview", {"index": index, "text": text}) for index, text in self._texts.items()
            ]
            step, total = self._progress or (None, None)
            report = Report(
                step=step,
                total=total,
                points=self._points,
                log="".join(self._log),
                previews=self._previews,
                events=texts,
            )
            self._reset()
        return None if report == Report() else report

    def put_back(self, report: Report) -> None:
        """A report that could not be written goes before what came since."""
        with self._lock:
            if self._progress is None and report.step is not None:
                self._progress = (report.step, report.total or 0)
            self._points[:0] = report.points
            self._log.insert(0, report.log)
            self._log_length += len(report.log)
            self._previews[:0] = report.previews
            self._texts = {d["index"]: d["text"] for _, d in report.events} | self._texts

    def _add_log(self, text: str) -> None:
        # NUL is no character for PostgreSQL, and half a surrogate pair is none for UTF-8
        text = text.replace("\0", "").encode("utf-8", "replace").decode()
        if self._log_length < LONGEST_LOG:
            self._log.append(text[: LONGEST_LOG - self._log_length])
            self._log_length += len(text)


@dataclass(eq=False)
class Held:
    """One job under one fence."""

    job: Job
    lease: Lease
    runs: Path  # the folder of this worker's runs
    phase: Phase = Phase.PREPARING
    since: float = 0.0  # monotonic
    made: int = 0  # items that the runner has told of
    sent: bool = False  # the runner was told to start it
    heard: bool = False  # the runner has said something about it
    used: float = 0.0  # device-seconds since the last heartbeat
    beside: set[str] = field(default_factory=set)  # kinds of the jobs that shared the device
    pending: Pending = field(default_factory=Pending)
    outputs: list[NewArtifact] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)  # keys that only a result makes visible
    # why it is to end before it is done: cancel, deadline, pause, rotate, drain, lost
    ending: str = ""
    asked_at: float = 0.0  # when the runner was told so
    missed_at: float = 0.0  # since when the runner's beats leave it out; 0 when they do not
    checkpointed: int = -1  # the step of the newest stored checkpoint
    broken: Exception | None = None  # what kept an output from being stored

    @property
    def key(self) -> str:
        return f"{self.lease.job_id}.{self.lease.fence}"

    @property
    def inputs(self) -> Path:
        """What the runner may read. Hard links of stored files: it must never write here."""
        return self.runs / "in" / self.key

    @property
    def out(self) -> Path:
        """What the runner makes. It may replace anything in here, this very folder included."""
        return self.runs / "out" / self.key

    @property
    def is_training(self) -> bool:
        return self.job.kind == "train"

    @property
    def items(self) -> int:
        """How many outputs it still asks of the device."""
        params = self.job.params if isinstance(self.job.params, dict) else {}
        count = params.get("count", 1)
        count = count if isinstance(count, int) else 1
        return 0 if self.is_training else max(1, count - self.made)

    @property
    def on_device(self) -> bool:
        return self.phase in (Phase.PREPARING, Phase.RUNNING)

    def take_used(self) -> float:
        used, self.used = self.used, 0.0
        return used
