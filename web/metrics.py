"""/metrics in Prometheus' text format: requests counted in this process, all else read from SQL at the scrape.

Bounded: route templates instead of paths, and at most MOST_FAMILIES names of families; never a user, job or prompt.
Who may read: see `_may_read`.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from shared.errors import Forbidden, NotSignedIn
from web import scopes, security
from web.services.figures import Figures, Spread, read_figures
from web.services.studio import Studio

REQUEST_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

bp = Blueprint("metrics", __name__)


class Meters:
    """What is counted in this process; one for each application."""

    def __init__(self, studio: Studio) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter(
            "atelier_http_requests", "Answered requests.", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "atelier_http_request_seconds",
            "Time until the answer began, long polls apart.",
            labels[:2],
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_FromSql(studio))


def init_app(app: Flask) -> None:
    app.after_request(_count)
    app.register_blueprint(bp)


def attach(app: Flask, studio: Studio) -> None:
    app.extensions["atelier_meters"] = Meters(studio)


def _meters() -> Meters:
    found: Meters = current_app.extensions["atelier_meters"]
    return found


def _count(response: Response) -> Response:
    if "began" not in g:
        return response
    meters = _meters()
    # unknown methods and paths come from outside, without end
    method = request.method if request.method in METHODS else "other"
    route = request.url_rule.rule if request.url_rule else "none"
    meters.requests.labels(method, route, str(response.status_code)).inc()
    if not request.args.get("wait"):
        meters.seconds.labels(method, route).observe(time.monotonic() - g.began)
    return response


@bp.get("/metrics")
def show() -> Response:
    _may_read()
    return Response(generate_latest(_meters().registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _may_read() -> None:
    """With ATELIER_METRICS_TOKEN, or as an administrator; on an installation that only this machine can reach
    and that has no such token, anybody.

    A proxy on this machine makes everybody look local, so an installation with a public address is never open.
    """
    settings = security.studio().settings
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.metrics_token
    if wanted and scheme.lower() == "bearer":
        if hmac.compare_digest(token.strip().encode(), wanted.encode()):
            return
    if not wanted and security.is_local_only(settings) and security.asks_from_here():
        return
    principal = security.find_principal()
    if principal is None:
        raise NotSignedIn()
    if principal.user.role != "admin":
        raise Forbidden("Only administrators may see this.")
    scopes.check(principal.scopes, request.endpoint or "", request.method)


class _FromSql(Collector):
    """Reads once for each scrape; nothing runs between scrapes."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def describe(self) -> Iterable[Metric]:
        return ()  # or the registry would ask SQL for the names

    def collect(self) -> Iterable[Metric]:
        figures = read_figures(self._studio)
        yield from _jobs(figures)
        yield from _devices(figures)
        yield from _upkeep(figures)
        yield _gauge("atelier_sse_streams", "Open event streams and long polls.", figures.streams)


def _jobs(figures: Figures) -> Iterable[Metric]:
    jobs = GaugeMetricFamily(
        "atelier_jobs", "Jobs by state, kind and family.", labels=("state", "kind", "family")
    )
    for labels, count in figures.jobs.items():
        jobs.add_metric(labels, count)
    yield jobs
    oldest = GaugeMetricFamily(
        "atelier_queue_oldest_seconds",
        "Age of the job that has been waiting longest in a lane; 0 when none waits.",
        labels=("lane",),
    )
    for lane, seconds in figures.oldest.items():
        oldest.add_metric((lane,), seconds)
    yield oldest
    yield _spread("atelier_job_wait_seconds", "From acceptance to first start", figures.waits)
    yield _spread("atelier_job_run_seconds", "From first start to the end", figures.runs)


def _spread(name: str, what: str, found: dict[str, Spread]) -> Metric:
    family = HistogramMetricFamily(name, f"{what}, of ended jobs.", labels=("kind",))
    for kind, spread in sorted(found.items()):
        family.add_metric((kind,), spread.buckets(), spread.total)
    return family


def _devices(figures: Figures) -> Iterable[Metric]:
    workers = GaugeMetricFamily("atelier_workers", "Workers with a heartbeat.", labels=("kind",))
    for kind, count in figures.workers.items():
        workers.add_metric((kind,), count)
    yield workers
    tallies = figures.tallies
    yield _counters("atelier_device", "device_seconds", "worker", tallies, "_seconds")
    busy = GaugeMetricFamily(
        "atelier_device_busy_ratio", "Use since the heartbeat before.", labels=("worker",)
    )
    for worker, value in tallies.get("device_busy", {}).items():
        if worker in figures.live:
            busy.add_metric((worker,), value)
    yield busy
    yield _counters("atelier_runner", "runner_deaths", "worker", tallies, "_deaths")


def _upkeep(figures: Figures) -> Iterable[Metric]:
    tallies = figures.tallies
    for name, text in (
        ("leases_lost", "Jobs taken from workers that vanished."),
        ("strikes", "Deaths of a runner held against a job."),
    ):
        value = tallies.get(name, {}).get("", 0.0)
        yield CounterMetricFamily(f"atelier_{name}", text, value=value)
    # pending: to be tried again
    yield _counters("atelier", "webhook_attempts", "state", tallies, "_webhook_attempts")
    for name in ("swept_bytes", "swept_files", "swept_rows"):
        yield _counters("atelier", name, "what", tallies, f"_{name}")
    yield _gauge("atelier_disk_free_bytes", "Free disk of the data folder.", figures.free_bytes)
    yield _gauge("atelier_disk_bytes", "Size of that disk.", figures.disk_bytes)


def _counters(
    prefix: str, tally: str, label: str, tallies: dict[str, dict[str, float]], suffix: str
) -> Metric:
    family = CounterMetricFamily(
        prefix + suffix, tally.replace("_", " ").capitalize() + ".", labels=(label,)
    )
    for value_of, value in sorted(tallies.get(tally, {}).items()):
        family.add_metric((value_of,), value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
