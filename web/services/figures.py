"""The figures of /metrics, read from SQL: jobs by state counted in an index, all else from tallies."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared import catalog, disk, scheduling
from shared.db import clock
from shared.models import Job, Tally
from shared.tallies import BUCKETS
from web.services.studio import Studio

MOST_FAMILIES = 50


@dataclass
class Spread:
    """A histogram of durations since the first job of this installation."""

    counts: dict[str, float] = field(default_factory=dict)
    total: float = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many are not above it), as Prometheus wants them."""
        counts = accumulate(self.counts.get(name, 0.0) for name in BUCKETS)
        return list(zip(BUCKETS, counts, strict=True))


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
        tallies = _tallies(session)
        live = catalog.live_workers(session)
        return Figures(
            jobs=_jobs(session),
            oldest=_oldest(session, at),
            waits=_spreads(tallies.pop("job_wait_seconds", {})),
            runs=_spreads(tallies.pop("job_run_seconds", {})),
            workers={kind: sum(w.kind == kind for w in live) for kind in ("device", "cpu")},
            live={worker.id for worker in live},
            tallies=tallies,
            streams=studio.feed.slots.taken,
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


def _spreads(found: dict[str, float]) -> dict[str, Spread]:
    """Of each kind of job, from labels as shared.tallies.time writes them: `kind|bucket`."""
    spreads: dict[str, Spread] = {}
    for label, value in found.items():
        kind, _, bucket = label.partition("|")
        spread = spreads.setdefault(kind, Spread())
        if bucket == "sum":
            spread.total = value
        else:
            spread.counts[bucket] = value
    return spreads


def _tallies(session: Session) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in session.scalars(select(Tally)):
        found.setdefault(row.name, {})[row.label] = row.value
    return found
