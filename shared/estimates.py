"""How long a job will run: its family's cost model, corrected by the history of its kind on the same kind of device.

seconds = overhead + steps * (time of a step) + flops * (time of one), three numbers that are fitted in logarithms
against the last jobs that succeeded, from what the worker's measured speed lets expect. No table of sums is kept that
could drift: the rows of the jobs are the history. What follows depends on those rows alone, so it is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, false, null, or_, select, true
from sqlalchemy.orm import Session

from shared.job_records import Outcome
from shared.models import Job, Worker

# Floating-point operations a second where no worker has said how fast it is: a small CPU.
DEFAULT_SPEED = 2e10
OVERHEAD_SECONDS = 0.2  # claim, inputs, loading, storing
STEP_SECONDS = 1e-3  # what a step costs however small the model
# How far off, in powers of e, these first guesses may be: overhead, a step, the work itself.
DOUBT = (1.2, 1.5, 1.0)
NOISE = 0.25  # of one job against the next like it
OUTLIER = 1.5 * NOISE  # what is farther off counts less
FADING = 0.97  # an older job counts less than the next
REMEMBERED = 60
FIRST_SPREAD = 0.8  # of the cost model alone
GUESSES = 3.0  # how many jobs that guess is worth
TAIL = 1.28  # four in five lie between low and high
SHORTEST = 0.01

Point = tuple[float, float, float]  # flops, steps, seconds


@dataclass(frozen=True)
class Estimate:
    """Seconds that a job runs when it is alone on its device; all None where nobody can know."""

    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    jobs: int = 0  # how many of the history it rests on

    @property
    def basis(self) -> str:
        if self.seconds is None:
            return "unknown"
        if not self.jobs:
            return "cost model"
        return f"history of {self.jobs} job{'' if self.jobs == 1 else 's'}"


@dataclass(frozen=True)
class Work:
    """What is asked, of which code."""

    family: str
    version: int
    kind: str
    cost: Mapping[str, float | None]  # "flops", "steps"

    @property
    def flops(self) -> float | None:
        return self.cost.get("flops")

    @property
    def steps(self) -> float:
        return self.cost.get("steps") or 0.0


def cost_of(
    prices: Mapping[str, float | None], kind: str, params: Mapping[str, Any]
) -> dict[str, float | None]:
    """What an estimate rests on, as `Job.cost`. Where a family prices no steps, outputs are a generation's."""
    steps = prices.get("steps", params.get("count" if kind == "generate" else "steps"))
    found = {"flops": prices["flops"]} if "flops" in prices else {}
    return {**found, "steps": float(steps)} if isinstance(steps, (int, float)) else found


def device_class(facts: Mapping[str, Any]) -> str:
    """Devices of one class are equally fast: from a worker's facts or a result's build."""
    name, kind = facts.get("device_name"), str(facts.get("device") or "").partition(":")[0]
    threads = f" x{facts.get('threads')}" if kind == "cpu" else ""
    return f"{kind} {name}{threads}"[:160] if name else ""


def lesson(outcome: Outcome, at: float) -> dict[str, Any]:
    """What a job that succeeds at `at` teaches, as values of its row."""
    return {"device": device_class(outcome.build), "run_seconds": _run_seconds(outcome, at)}


def _run_seconds(outcome: Outcome, at: float) -> ColumnElement[Any]:
    """How long the job takes alone, as SQL over its row; NULL where this run cannot tell.

    Alone on the device it is the time from start to end; beside others its device-seconds, but a generation among
    generations shares its steps, and a job that began more than once did some of its work twice.
    """
    took = at - Job.started_at if not outcome.beside else Job.device_seconds + outcome.seconds
    shared = true() if "generate" in outcome.beside else false()
    return case((or_(Job.attempt != 1, (Job.kind != "train") & shared), null()), else_=took)


def estimate(session: Session, work: Work, workers: Sequence[Worker]) -> Estimate:
    """By the fastest of the workers that can do it: nothing is refused that one of them could do in time."""
    if not math.isfinite((work.flops or 0.0) + work.steps):
        return Estimate(math.inf, math.inf, math.inf)
    history = _history(session, work)
    found = [_by(work, history.get(name, ()), speed) for name, speed in _devices(work, workers)]
    if not found:
        found = [_by(work, points, DEFAULT_SPEED) for points in history.values()]
    found = found or [_by(work, (), DEFAULT_SPEED)]
    return min(found, key=lambda one: math.inf if one.seconds is None else one.seconds)


def _devices(work: Work, workers: Sequence[Worker]) -> set[tuple[str, float]]:
    devices = [worker for worker in workers if worker.kind == "device"]
    able = [w for w in devices if w.families.get(work.family) == work.version]
    return {
        (device_class(w.facts), float(w.facts.get("flops_per_second") or 0) or DEFAULT_SPEED)
        for w in able or devices
    }


HISTORY = (
    select(Job.device, Job.cost, Job.run_seconds)
    .where(
        Job.family == bindparam("family"),
        Job.family_version == bindparam("version"),
        Job.kind == bindparam("kind"),
        Job.run_seconds.is_not(None),
    )
    .order_by(Job.finished_at.desc())
    .limit(REMEMBERED)
)


def _history(session: Session, work: Work) -> dict[str, tuple[Point, ...]]:
    """The last jobs of this kind by class of device, the newest first."""
    asked = {"family": work.family, "version": work.version, "kind": work.kind}
    found: dict[str, tuple[Point, ...]] = {}
    for device, cost, seconds in session.execute(HISTORY, asked):
        # a cost that was unknown when the job was accepted says nothing about others
        if seconds is not None and (cost.get("flops") is None) == (work.flops is None):
            point = cost.get("flops") or 0.0, cost.get("steps") or 0.0, max(SHORTEST, seconds)
            found[device] = (*found.get(device, ()), point)
    return found


def _by(work: Work, points: tuple[Point, ...], speed: float) -> Estimate:
    if work.flops is None and (not points or "flops" in work.cost):
        return Estimate()
    coefficients, spread = fit(points, speed)
    seconds = _seconds(coefficients, work.flops or 0.0, work.steps)
    return Estimate(
        seconds, seconds * math.exp(-TAIL * spread), seconds * math.exp(TAIL * spread), len(points)
    )


# ---- the fit ---------------------------------------------------------------------------------------


def _parts(logs: Sequence[float], flops: float, steps: float) -> tuple[float, float, float]:
    return math.exp(logs[0]), steps * math.exp(logs[1]), flops * math.exp(logs[2])


def _seconds(logs: Sequence[float], flops: float, steps: float) -> float:
    return sum(_parts(logs, flops, steps))


@lru_cache(maxsize=256)
def fit(points: tuple[Point, ...], speed: float) -> tuple[tuple[float, float, float], float]:
    """(the logarithms of overhead, time of a step, time of a flop; spread of what they leave unexplained).

    Gauss-Newton on the logarithms of seconds, outliers counting less (Huber 1964), drawn to the first guess: without
    history it is that guess, and each job moves what it can tell about.
    """
    first = math.log(OVERHEAD_SECONDS), math.log(STEP_SECONDS), -math.log(speed)
    logs = list(first)
    for _ in range(15 if points else 0):
        move = _step(points, first, logs)
        logs = [log + max(-1.0, min(1.0, part)) for log, part in zip(logs, move, strict=True)]
        if max(map(abs, move)) < 1e-3:
            break
    return (logs[0], logs[1], logs[2]), _spread(points, logs)


def _step(points: Sequence[Point], first: Sequence[float], logs: Sequence[float]) -> list[float]:
    matrix = [[0.0] * 3 for _ in range(3)]
    target = [0.0] * 3
    for i in range(3):
        matrix[i][i] = DOUBT[i] ** -2
        target[i] = (first[i] - logs[i]) * DOUBT[i] ** -2
    for age, (flops, steps, seconds) in enumerate(points):
        parts = _parts(logs, flops, steps)
        total = sum(parts)
        error = math.log(seconds / total)
        weight = FADING**age * min(1.0, OUTLIER / max(abs(error), 1e-9)) / NOISE**2
        slope = [part / total for part in parts]
        for i in range(3):
            target[i] += weight * error * slope[i]
            for j in range(3):
                matrix[i][j] += weight * slope[i] * slope[j]
    return _solved(matrix, target)


def _solved(matrix: list[list[float]], target: list[float]) -> list[float]:
    """Gauss without pivoting: the matrix is symmetric and positive."""
    rows = [[*row, value] for row, value in zip(matrix, target, strict=True)]
    for i, row in enumerate(rows):
        rows[i] = [value / row[i] for value in row]
        for j in range(len(rows)):
            if j != i:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[-1] for row in rows]


def _spread(points: Sequence[Point], logs: Sequence[float]) -> float:
    """How far jobs lie from the fit, in powers of e; outliers cut, the first guess counted in."""
    errors = [min(1.5, abs(math.log(seconds / _seconds(logs, *work)))) for *work, seconds in points]
    squares = GUESSES * FIRST_SPREAD**2 + sum(error**2 for error in errors)
    return math.sqrt(squares / (GUESSES + len(errors)))
