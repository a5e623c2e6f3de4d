"""What a training says about itself: progress and metrics, rarely enough to cost nothing.

Tensors are read only when a report is due; of a long training only some two thousand points are kept,
and the newest one at each report. Reports, rows in SQL, get rarer the longer it takes.
"""

from __future__ import annotations

import math
import time
from collections.abc import KeysView
from typing import Any

from worker import link
from worker.run import Run
from worker.station import Station

REPORT_SECONDS = 1.0
REPORT_SHARE = 0.0005  # of the time so far: 1 s in the first half hour, 18 s after ten hours
MOST_POINTS = 2000

Point = tuple[int, float, dict[str, Any]]


class TrainingReport:
    def __init__(
        self,
        station: Station,
        job: str,
        seconds_before: float,
        last: dict[str, float | None] | None = None,
    ) -> None:
        """`seconds_before` is what earlier attempts took, so that the curve goes on; `last` their newest numbers."""
        self._station = station
        self._job = job
        self._began = time.monotonic() - seconds_before
        self._due = 0.0
        self._kept: list[Point] = []
        self._newest: Point | None = None
        self._usual: KeysView[str] | None = None
        self._told = (-1, -1)
        self.last: dict[str, float | None] = dict(last or {})

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def note(self, run: Run, metrics: Any) -> None:
        """Takes what the loop yielded; None says nothing."""
        if metrics:
            self._newest = (run.step, self.seconds(), detached(metrics))
            if self._is_kept(run, metrics):
                self._kept.append(self._newest)
                self._newest = None
        now = time.monotonic()
        if now >= self._due:
            self._due = now + max(REPORT_SECONDS, REPORT_SHARE * self.seconds())
            self.send(run)

    def _is_kept(self, run: Run, metrics: dict[str, Any]) -> bool:
        """Every so many steps, the last one, and whatever is not the usual (validations)."""
        if self._usual is None:
            self._usual = metrics.keys()
        stride = max(1, run.total // MOST_POINTS)
        return run.step % stride == 0 or run.step == run.total or metrics.keys() != self._usual

    def send(self, run: Run) -> None:
        points = self._kept if self._newest is None else [*self._kept, self._newest]
        self._kept, self._newest = [], None
        if (run.step, run.total) != self._told:
            self._told = (run.step, run.total)
            self._station.tell(link.Progress(job=self._job, step=run.step, total=run.total))
        if points:
            read = [(step, round(seconds, 3), numbers(found)) for step, seconds, found in points]
            for _, _, found in read:
                self.last.update(found)
            self._station.tell(link.Metrics(job=self._job, points=read))


def detached(metrics: dict[str, Any]) -> dict[str, Any]:
    """Without the graph, which would hold the whole step's memory."""
    return {
        name: value.detach() if hasattr(value, "detach") else value
        for name, value in metrics.items()
    }


def numbers(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Plain numbers; what is not finite becomes None, which every reader of JSON takes."""
    plain = {name: float(value) for name, value in metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in plain.items()}
