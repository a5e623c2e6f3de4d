"""Learning curves: the numbers of a training and of those that it goes on from, thinned while they are read.

However long a training was, what is held in memory grows with the points that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.models import Job, MetricPoint, User
from web.services import access
from web.services.shapes import finite
from web.services.studio import Studio

DEFAULT_POINTS = 500
MOST_POINTS = 10_000
LONGEST_CHAIN = 100  # trainings that go on from each other
LARGEST_STEP = 2**31 - 1  # of an integer column
ROWS_AT_ONCE = 200
ROWS_NEAR = 50

Point = list[Any]  # [step, seconds, value]
Chain = list[tuple[str, int]]


def job_metrics(
    studio: Studio, user: User, job_id: str, max_points: int = DEFAULT_POINTS
) -> dict[str, Any]:
    """{"series": {name: [[step, seconds, value], ...]}}, each thinned to at most max_points.

    A training that goes on from another begins with the other's curve. What an attempt made again stands once.
    """
    max_points = max(2, min(max_points, MOST_POINTS))
    curves: dict[str, Curve] = {}
    with studio.db.reading() as session:
        chain = _chain(session, access.own(session, Job, job_id, user))
        last = _last_step(session, chain)
        for step, seconds, values in _backwards(session, chain):
            for name, value in values.items():
                curve = curves.get(name)
                if curve is None:
                    curve = curves[name] = Curve(max_points, last)
                curve.add([step, seconds, finite(value)])
    names = sorted(curves, key=lambda name: curves[name].first_seen)
    return {"series": {name: curves[name].points() for name in names}}


def values_at(session: Session, job_id: str, step: int) -> dict[str, Any]:
    """The newest value of each name at this step or before it, as far as a few reports reach."""
    rows: Iterable[Any] = session.scalars(
        select(MetricPoint.points)
        .where(MetricPoint.job_id == job_id, MetricPoint.first_step <= step)
        .order_by(MetricPoint.n.desc())
        .limit(ROWS_NEAR)
    )
    found: dict[str, tuple[int, Any]] = {}
    for points in rows:
        for at, _, values in reversed(points):
            for name, value in values.items():
                if at <= step and (name not in found or found[name][0] < at):
                    found[name] = (at, value)
    return {name: finite(value) for name, (_, value) in sorted(found.items())}


class Curve:
    """One series, filled from its end to its beginning.

    Few points stay as they are. Of many, each stretch of steps keeps its lowest and its highest, so that no spike is
    lost; and the first and the last stay.
    """

    def __init__(self, most: int, last_step: int) -> None:
        self._most = most
        self._few: list[Point] = []
        self._stretches = max(1, (most - 2) // 2)
        self._width = (last_step + 1) / self._stretches
        self._lowest: dict[int, Point] = {}
        self._highest: dict[int, Point] = {}
        self._first: Point = []
        self._last: Point = []

    @property
    def first_seen(self) -> int:
        return int(self._first[0])

    def add(self, point: Point) -> None:
        """A point before all others; one that is not was made again by a later attempt, and that one stands."""
        if self._first and point[0] >= self._first[0]:
            return
        self._first = point
        self._last = self._last or point
        if len(self._few) <= self._most:
            self._few.append(point)
        if point[2] is None:
            return
        n = int(point[0] / self._width)
        if n not in self._lowest or point[2] < self._lowest[n][2]:
            self._lowest[n] = point
        if n not in self._highest or point[2] > self._highest[n][2]:
            self._highest[n] = point

    def points(self) -> list[Point]:
        if len(self._few) <= self._most:
            return self._few[::-1]
        if self._most < 4:
            return [self._first, self._last]
        kept = [self._first, self._last, *self._lowest.values(), *self._highest.values()]
        by_step = {point[0]: point for point in kept}
        return [by_step[step] for step in sorted(by_step)]


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most `most` of these points, which are in the order of their steps."""
    curve = Curve(most, points[-1][0] if points else 0)
    for point in reversed(points):
        curve.add(point)
    return curve.points()


def _chain(session: Session, job: Job) -> Chain:
    """[(job, up to which step)], the newest first; what was deleted ends it."""
    chain, until = [(job.id, LARGEST_STEP)], LARGEST_STEP
    owner, parent, step = job.user_id, job.continues, job.continues_step
    while parent and len(chain) < LONGEST_CHAIN:
        until = min(until, step or 0)
        row = session.execute(
            select(Job.continues, Job.continues_step).where(
                Job.id == parent, Job.user_id == owner, Job.deleted_at.is_(None)
            )
        ).one_or_none()
        if row is None:
            break
        chain.append((parent, until))
        parent, step = row
    return chain


def _last_step(session: Session, chain: Chain) -> int:
    ids = [job_id for job_id, _ in chain]
    query = select(func.max(MetricPoint.last_step)).where(MetricPoint.job_id.in_(ids))
    return session.scalar(query) or 0


def _backwards(session: Session, chain: Chain) -> Iterator[Any]:
    """[step, seconds, {name: value}] of all of them, the newest first, some rows at a time."""
    for job_id, until in chain:
        rows: Iterable[Any] = session.scalars(
            select(MetricPoint.points)
            .where(MetricPoint.job_id == job_id, MetricPoint.first_step <= until)
            .order_by(MetricPoint.n.desc()),
            execution_options={"yield_per": ROWS_AT_ONCE},
        )
        for points in rows:
            yield from (point for point in reversed(points) if point[0] <= until)
