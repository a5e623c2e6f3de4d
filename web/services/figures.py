"""The figures of /metrics, read from SQL: counts by an index, times from the newest jobs, tallies as they stand."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared import catalog, disk, scheduling
from shared.db import clock
from shared.models import Job, Tally
from web.services.studio import Studio

WINDOW_SECONDS = 3600.0
MOST_JOBS = 5000
MOST_FAMILIES = 50
BOUNDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)


@dataclass
class Spread:
    """A histogram of durations."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many are not above it), as Prometheus wants them."""
        names = [f"{float(bound)}" for bound in BOUNDS] + ["+Inf"]
        return [(name, float(sum(self.counts[: n + 1]))) for n, name in enumerate(names)]


@dataclass
class Figures:
    jobs: dict[tuple[str, str, str], int]
    oldest: dict[str, float]
    waits: dict[str, Spread]
    runs: dict[str, Spread]
    workers: dict[str, int]
    live: set[str]
    tallies: dict[str, dict[str, float]]
    streams: int
    free_bytes: int
    disk_bytes: int


def read_figures(studio: Studio) -> Figures:
    place = disk.usage(studio.settings)
    with studio.db.reading() as session:
        at = clock(session)
        waits, runs = _times(session, at)
        live = catalog.live_workers(session)
        return Figures(
            jobs=_jobs(session),
            oldest=_oldest(session, at),
            waits=waits,
            runs=runs,
            workers={kind: sum(w.kind == kind for w in live) for kind in ("device", "cpu")},
            live={worker.id for worker in live},
            tallies=_tallies(session),
            streams=studio.feed.open_slots,
            free_bytes=place["free_bytes"],
            disk_bytes=place["bytes"],
        )


def _jobs(session: Session) -> dict[tuple[str, str, str], int]:
    """Counted in ix_job_state_kind_family, without the rows; rare families beyond the limit are one."""
    rows = session.execute(
        select(Job.state, Job.kind, Job.family, func.count()).group_by(
            Job.state, Job.kind, Job.family
        )
    ).all()
    totals: dict[str, int] = {}
    for _, _, family, count in rows:
        totals[family] = totals.get(family, 0) + count
    shown = set(sorted(totals, key=lambda name: (-totals[name], name))[:MOST_FAMILIES])
    found: dict[tuple[str, str, str], int] = {}
    for state, kind, family, count in rows:
        key = (state, kind, family if family in shown else "other")
        found[key] = found.get(key, 0) + count
    return found


def _oldest(session: Session, at: float) -> dict[str, float]:
    rows = session.execute(
        select(Job.lane, func.min(Job.created_at))
        .where(Job.state == "queued", Job.paused_at.is_(None))
        .group_by(Job.lane)
    )
    since = {lane: created_at for lane, created_at in rows}
    return {lane: max(0.0, at - since.get(lane, at)) for lane in scheduling.LANES}


def _times(session: Session, at: float) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """Of the newest that ended within the window: ix_job_finished_at finds them."""
    rows = session.execute(
        select(Job.kind, Job.created_at, Job.started_at, Job.finished_at)
        .where(Job.finished_at > at - WINDOW_SECONDS)
        .order_by(Job.finished_at.desc())
        .limit(MOST_JOBS)
    )
    waits: dict[str, Spread] = {}
    runs: dict[str, Spread] = {}
    for kind, created_at, started_at, finished_at in rows:
        if started_at is not None and finished_at is not None:
            waits.setdefault(kind, Spread()).add(max(0.0, started_at - created_at))
            runs.setdefault(kind, Spread()).add(max(0.0, finished_at - started_at))
    return waits, runs


def _tallies(session: Session) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in session.scalars(select(Tally)):
        found.setdefault(row.name, {})[row.label] = row.value
    return found
