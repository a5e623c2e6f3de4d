"""The end of a soak in words: what was done, what broke a promise, what was slower than it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.chaos.faults import Breaker
from worker.chaos.figures import Figures
from worker.chaos.orders import Books
from worker.chaos.plan import Plan

KINDS = ("lost", "doubled", "orphaned", "illegal")
MOST_PROBLEMS = 30


@dataclass(frozen=True)
class Bar:
    """A figure and what it should stay under."""

    name: str
    value: float
    most: float
    unit: str = "s"

    @property
    def missed(self) -> bool:
        return self.value > self.most

    def __str__(self) -> str:
        verdict = "MISSED" if self.missed else "ok"
        return f"  {self.name:34} {self.value:7.2f} {self.unit:2} of {self.most:g} {self.unit}  {verdict}"


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def bars(figures: Figures, lease: float) -> list[Bar]:
    """Every bound that is promised, where anything was measured against it."""
    found = []
    recovery = [seconds for each in figures.recovery.values() for seconds in each]
    if recovery:
        found.append(Bar("running again after kill -9, p95", quantile(recovery, 0.95), lease + 5))
    most = {"queued": (1.0, 1.0), "running": (3.0, 0.95), "deaf": (20.0, 1.0)}
    most["dead owner"] = (lease + 15, 1.0)
    for kind, (seconds, share) in most.items():
        if measured := figures.cancels.get(kind):
            name = f"cancel, {kind}, {'p95' if share < 1 else 'longest'}"
            found.append(Bar(name, quantile(measured, share), seconds))
    if figures.submits_without_redis:
        p95 = quantile(figures.submits_without_redis, 0.95)
        found.append(Bar("submit while Redis is away, p95", 1000 * p95, 500, "ms"))
    if figures.steps:
        found.append(Bar("steps made again", 100 * figures.steps_again / figures.steps, 15, "%"))
    return found


def lines(
    plan: Plan, figures: Figures, books: Books, breaker: Breaker, lease: float
) -> Iterator[str]:
    """For people. Problems come last, where they are seen."""
    kinds = Counter(hit.kind for hit in breaker.hits)
    yield f"seed {plan.seed}: {plan.seconds:g} s, lease {lease:g} s"
    yield f"jobs: {len(books.ids)} accepted of {len(plan.orders)}; {_counts(figures.states)}"
    yield f"  of {_counts(figures.families)}; struck out by faults: {figures.struck_out}"
    yield f"faults: {kinds.total()} ({breaker.missed} more found nothing to break)"
    yield f"  {_counts(kinds)}"
    for name, seconds in sorted(figures.taken_back.items()):
        yield f"in the queue again after {name}: {_spread(seconds)}"
        yield f"  running again, with its turn in the queue: {_spread(figures.recovery[name])}"
    for service in ("web", "redis"):
        yield f"{service} away: {_spread(breaker.outages.lengths(service))}"
    for name, seconds in sorted(figures.cancels.items()):
        yield f"cancel, {name}: {_spread(seconds)}"
    away = figures.submits_without_redis
    yield f"submits while Redis was away: {_spread(away)}"
    yield f"  beside a stopped process, which may hold SQLite's lock: {_spread(figures.submits_held_up)}"
    again = 100 * figures.steps_again / figures.steps if figures.steps else 0.0
    yield f"steps of the test family: {figures.steps}, made again {figures.steps_again} ({again:.1f} %)"
    yield f"webhooks: {figures.told} messages heard, {figures.told_again} of them more than once"
    yield f"left by killed attempts, and swept: {_counts(figures.left)}"
    yield "bars:"
    yield from map(str, bars(figures, lease))
    found = Counter(problem.kind for problem in figures.problems)
    yield ", ".join(f"{found[kind]} {kind}" for kind in KINDS)
    for problem in figures.problems[:MOST_PROBLEMS]:
        yield f"  {problem.kind}: {problem.text}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "nothing measured"
    p50, p95 = quantile(seconds, 0.5), quantile(seconds, 0.95)
    return f"p50 {p50:.2f} s, p95 {p95:.2f} s, longest {max(seconds):.2f} s ({len(seconds)})"
