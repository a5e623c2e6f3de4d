"""What a job has said so far: events, metrics, log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.jobs import FINAL
from shared.models import Job, JobEvent, JobLog, MetricPoint, User
from web.services import access
from web.services.shapes import event_shape, finite
from web.services.studio import Studio

Series = dict[str, list[list[Any]]]

MOST_EVENTS = 1000
DEFAULT_POINTS = 500
MOST_POINTS = 10_000
# Rows of metrics read for each point that is shown; beyond that only every n-th row is read.
ROWS_A_POINT = 10
KEEP_ALIVE_SECONDS = 15.0
STREAM_SECONDS = 600.0


def job_events(
    studio: Studio,
    user: User,
    job_id: str,
    after: int = 0,
    limit: int = 200,
) -> dict[str, Any]:
    """Events with n > after, oldest first; `next` is the n to go on from while there are more."""
    limit = max(1, min(limit, MOST_EVENTS))
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        items = _events(session, job_id, after, limit + 1)
    more = len(items) > limit
    items = items[:limit]
    return {"items": items, "next": items[-1]["n"] if more else None}


def news(
    studio: Studio, user: User, job_id: str, after: int
) -> tuple[list[dict[str, Any]], int, bool]:
    """(events, the job's version, whether nothing can follow any more). Raises NotFound."""
    with studio.db.reading() as session:
        job = access.own(session, Job, job_id, user)
        items = _events(session, job_id, after, MOST_EVENTS)
        over = job.state in FINAL and len(items) < MOST_EVENTS
    return items, job.version, over


def latest_events(
    studio: Studio, user: User, job_id: str, types: tuple[str, ...], limit: int = MOST_EVENTS
) -> list[dict[str, Any]]:
    """The last events of these types, oldest first: a page has no use for the many numbers in between."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.type.in_(types))
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        rows = session.scalars(query.order_by(JobEvent.n.desc()).limit(limit)).all()
    return [event_shape(row) for row in reversed(rows)]


def _events(session: Session, job_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.n > after)
    rows = session.scalars(query.order_by(JobEvent.n).limit(limit))
    return [event_shape(row) for row in rows]


def job_metrics(
    studio: Studio, user: User, job_id: str, max_points: int = DEFAULT_POINTS
) -> dict[str, Any]:
    """{"series": {name: [[step, seconds, value], ...]}}, each thinned to at most max_points."""
    max_points = max(2, min(max_points, MOST_POINTS))
    series: Series = defaultdict(list)
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        for points in _points(session, job_id, max_points * ROWS_A_POINT):
            for step, seconds, values in points:
                for name, value in values.items():
                    _append(series[name], [step, seconds, finite(value)])
    return {"series": {name: thinned(points, max_points) for name, points in series.items()}}


def _append(points: list[list[Any]], new: list[Any]) -> None:
    """An attempt that goes on from a checkpoint makes some steps again: the later ones stand."""
    while points and points[-1][0] >= new[0]:
        points.pop()
    points.append(new)


def _points(session: Session, job_id: str, most_rows: int) -> Iterator[list[Any]]:
    mine = MetricPoint.job_id == job_id
    count = session.scalar(select(func.count()).where(mine)) or 0
    stride = max(1, -(-count // most_rows))
    nth = func.row_number().over(order_by=MetricPoint.n).label("nth")
    numbered = select(MetricPoint.points, MetricPoint.n, nth).where(mine).subquery()
    # counted from the end, so that the newest row is always among them
    chosen = select(numbered.c.points).where((count - numbered.c.nth) % stride == 0)
    for (points,) in session.execute(chosen.order_by(numbered.c.n)):
        yield points


def thinned(points: list[list[Any]], most: int) -> list[list[Any]]:
    """At most `most` points: of each stretch the lowest and the highest, so that no spike is lost; and the last."""
    if len(points) <= most:
        return points
    stretches = max(1, (most - 1) // 2)
    size = (len(points) - 1) / stretches
    kept: list[list[Any]] = []
    for n in range(stretches):
        stretch = points[int(n * size) : int((n + 1) * size)]
        numbers = [i for i, point in enumerate(stretch) if point[2] is not None]
        if numbers:
            lowest = min(numbers, key=lambda i: stretch[i][2])
            highest = max(numbers, key=lambda i: stretch[i][2])
            kept += [stretch[i] for i in sorted({lowest, highest})]
    return [*kept, points[-1]][-most:]


def job_log(studio: Studio, user: User, job_id: str) -> str:
    with studio.db.reading() as session:
        access.own(session, Job, job_id, user)
        lines = session.scalars(
            select(JobLog.text).where(JobLog.job_id == job_id).order_by(JobLog.n)
        )
        return "".join(lines)
