"""What a soak measured, read from the rows and the log once everything has ended."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import select

from shared.db import Database
from shared.errors import NotFound
from shared.jobs import FINAL
from shared.models import Job, JobEvent, Model
from shared.storage import Storage
from worker.chaos.faults import Breaker, Hit
from worker.chaos.orders import Books
from worker.chaos.plan import Order, Plan
from worker.chaos.problem import Problem

STEP_LINE = re.compile(r'"message": "step (\d+) (\d+)"')
# Of the steps that must have been made, the part that the log must tell: a supervisor that dies takes a line with it.
LEAST_TOLD = 0.9
# What random faults may do to a job that they hit three times (or ten) without progress between.
STRUCK_OUT = {"poison", "worker_lost", "oom"}
# After these nobody obeys a cancel until the lease is over, or the worker goes on.
OWNER_GONE = {"kill main", "kill child", "stop child", "drain"}


@dataclass
class Figures:
    """Seconds by kind, and what is not as it was promised."""

    states: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    taken_back: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    recovery: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cancels: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    submits_without_redis: list[float] = field(default_factory=list)
    submits_held_up: list[float] = field(default_factory=list)  # the same beside a stopped process
    struck_out: int = 0
    left: Counter[str] = field(default_factory=Counter)  # by folder: what killed attempts left
    told: int = 0  # messages to webhooks
    told_again: int = 0  # of these, what came more than once, as it may
    steps: int = 0
    steps_again: int = 0


def read(
    plan: Plan,
    books: Books,
    db: Database,
    storage: Storage,
    breaker: Breaker,
    log: str,
    lease: float,
) -> Figures:
    """Asked once, after the end."""
    figures, hits = Figures(), breaker.hits
    with db.reading() as session:
        names = [books.name_of(order) for order in plan.orders]
        jobs = list(session.scalars(select(Job).where(Job.name.in_(names))))
        events = select(JobEvent).where(JobEvent.type == "state").order_by(JobEvent.n)
        history: dict[str, list[JobEvent]] = defaultdict(list)
        for event in session.scalars(events):
            history[event.job_id].append(event)
        models = list(session.scalars(select(Model)))
    figures.states = Counter(job.state for job in jobs)
    figures.families = Counter(job.family for job in jobs)
    figures.problems += _promises(plan, books, jobs)
    figures.problems += _wrong_models(jobs, models, storage)
    figures.struck_out = sum(job.state == "failed" and job.error_code in STRUCK_OUT for job in jobs)
    for hit in (hit for hit in hits if hit.is_kill):
        for job_id, fence in hit.jobs:
            back, again = _back_at(history[job_id], hit.at, fence)
            if back is not None:
                figures.taken_back[hit.kind].append(back - hit.at)
            if again is not None:
                figures.recovery[hit.kind].append(again - hit.at)
    kind_of = partial(_kind_of, history=history, hits=hits, lease=lease)
    figures.cancels = _cancels(books, jobs, kind_of, breaker)
    _read_submits(figures, books, breaker)
    _read_steps(figures, log, jobs)
    return figures


def _promises(plan: Plan, books: Books, jobs: list[Job]) -> Iterable[Problem]:
    """Accepted means kept, once; and nothing ends as nobody asked for."""
    yield from _kept(books, {job.id: job for job in jobs})
    orders: dict[str, Order] = {books.name_of(order): order for order in plan.orders}
    for name, count in Counter(job.name for job in jobs).items():
        if count > 1:
            yield Problem("doubled", f"{count} jobs are named {name!r}")
    for job in jobs:
        if job.state == "cancelled" and not orders[job.name].cancel:
            yield Problem("illegal", f"job {job.id} was cancelled, and nobody had asked")
        if job.state == "failed" and job.error_code not in STRUCK_OUT | {"parent_failed"}:
            yield Problem("illegal", f"job {job.id} failed: {job.error_code} {job.error_message}")
    yield from _unheard(books, {job.id: job for job in jobs})
    for number, text in books.refused.items():
        yield Problem("illegal", f"order {number} was refused: {text}")
    for text in books.broken:
        yield Problem("illegal", text)


def _unheard(books: Books, by_id: dict[str, Job]) -> Iterable[Problem]:
    """A cancel that was answered holds. A job may still fail by itself before it hears of it."""
    for cancel in books.cancels:
        job = by_id.get(cancel.job_id)
        if job is not None and job.state == "succeeded":
            yield Problem("illegal", f"job {job.id} succeeded after its cancel was accepted")


def _kept(books: Books, by_id: dict[str, Job]) -> Iterable[Problem]:
    for number, ids in books.ids.items():
        if len(ids) > 1:
            yield Problem("doubled", f"order {number} was answered with {sorted(ids)}")
        for job_id in ids:
            job = by_id.get(job_id)
            if job is None:
                yield Problem("lost", f"order {number} was accepted as {job_id}, which is gone")
            elif job.state not in FINAL:
                yield Problem("lost", f"job {job_id} (order {number}) is still {job.state}")


def _wrong_models(jobs: list[Job], models: list[Model], storage: Storage) -> Iterable[Problem]:
    """The same training is the same model, whatever happened to it; and each step is in it once."""
    made = {model.job_id: model for model in models}
    same: dict[tuple[object, ...], tuple[str, bytes]] = {}
    for job in jobs:
        model = made.get(job.id)
        if model is None or job.family != "sleep_steps":
            continue
        try:
            with storage.open(f"{model.location}/model.json") as file:
                data = file.read()
        except NotFound:
            yield Problem("lost", f"the model of job {job.id} has no model.json")
            continue
        steps, every = job.params["steps"], job.params["validate_every"]
        best = steps - steps % every or steps  # the last that was offered, or the end
        seen = json.loads(data)["seen"]
        if seen != list(range(1, best + 1)):
            kind = "doubled" if len(set(seen)) < len(seen) else "lost"
            yield Problem(kind, f"the model of job {job.id} has the steps {_in_short(seen)}")
        # the file, not the model's own hash, which also covers its card with the mark of each order
        first = same.setdefault((job.dataset_id, job.seed, steps, every), (job.id, data))
        if first[1] != data:
            yield Problem("illegal", f"jobs {first[0]} and {job.id} made different models")


def _in_short(steps: list[int]) -> str:
    """Where they do not follow each other."""
    odd = [pair for pair in zip([0, *steps], steps, strict=False) if pair[1] != pair[0] + 1]
    return f"1 to {max(steps, default=0)}, {len(steps)} of them, with the leaps {odd[:5]}"


def _back_at(events: list[JobEvent], at: float, fence: int) -> tuple[float | None, float | None]:
    """When a job that was hit was in the queue again, and when it ran again; or ended, for both."""
    later = [event for event in events if event.at > at and event.data.get("fence", 0) > fence]
    back = next((event.at for event in later), None)
    ends = (e.at for e in later if e.data["state"] in FINAL or _is_claim(e))
    return back, next(ends, None)


def _is_claim(event: JobEvent) -> bool:
    return event.data["state"] == "running" and "cancel_requested" not in event.data


def _cancels(
    books: Books, jobs: list[Job], kind_of: Callable[[str, Job], str], breaker: Breaker
) -> dict[str, list[float]]:
    """From the request on, as its row tells; a queued job's row does not, and there web must have been there."""
    by_id = {job.id: job for job in jobs}
    seconds: dict[str, list[float]] = defaultdict(list)
    for cancel in books.cancels:
        job = by_id.get(cancel.job_id)
        if job is None or job.state != "cancelled" or job.finished_at is None:
            continue
        kind, asked_at = kind_of(cancel.kind, job), job.cancel_requested_at
        if asked_at is None:
            if breaker.outages.overlap("web", cancel.began, cancel.ended):
                continue
            asked_at = cancel.began + breaker.offset
        seconds[kind].append(max(0.0, job.finished_at - asked_at))
    return seconds


def _kind_of(
    asked: str, job: Job, history: dict[str, list[JobEvent]], hits: list[Hit], lease: float
) -> str:
    """What the cancel found: random faults make dead owners of live ones, and runs of what was queued."""
    asked_at, ended_at = job.cancel_requested_at, job.finished_at or 0.0
    if asked_at is None:
        return "queued"
    claimed_at = max((e.at for e in history[job.id] if _is_claim(e)), default=0.0)
    hit_it = {
        hit.kind
        for hit in hits
        if job.id in dict(hit.jobs)
        and claimed_at <= hit.at < ended_at
        and hit.until > asked_at - lease
    }
    if hit_it & OWNER_GONE:
        return "dead owner"
    return "deaf" if asked == "deaf" or "stop runner" in hit_it else "running"


def _read_steps(figures: Figures, log: str, jobs: list[Job]) -> None:
    """Each step of a marked training told itself when it was made."""
    made = Counter(STEP_LINE.findall(log))
    figures.steps = made.total()
    figures.steps_again = made.total() - len(made)
    least = sum(job.params["steps"] for job in jobs if _is_marked(job) and job.state == "succeeded")
    if len(made) < LEAST_TOLD * least:
        text = f"{len(made)} steps were told of {least} at least: nobody knows how many came again"
        figures.problems.append(Problem("lost", text))


def _is_marked(job: Job) -> bool:
    return job.kind == "train" and bool(job.params.get("mark"))


def _read_submits(figures: Figures, books: Books, breaker: Breaker) -> None:
    """How long submits took that began while Redis was away and web was not.

    Those beside a stopped process are counted apart: on SQLite it may hold the one lock of writers.
    """
    outages = breaker.outages
    still = [
        (hit.at - breaker.offset, hit.until - breaker.offset)
        for hit in breaker.hits
        if hit.kind.startswith("stop") and hit.kind != "stop redis"
    ]
    for begin, end in books.submits:
        if outages.overlap("redis", begin, end) and not outages.overlap("web", begin, end):
            held_up = any(start < end and begin < until for start, until in still)
            kept = figures.submits_held_up if held_up else figures.submits_without_redis
            kept.append(end - begin)
