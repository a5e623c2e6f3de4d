"""/metrics tells the truth in Prometheus' format, to those who may read it, with labels that stay few."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from shared import tallies
from shared.models import Job
from web import create_app, reaper

TOKEN = "a-token-for-the-scraper"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return request.getfixturevalue(name)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def scrape(client):
    def scrape(**headers):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 200, answer.text
        found = samples(answer.text)
        return lambda name, **labels: found.get((name, frozenset(labels.items())))

    return scrape


def test_jobs_are_counted_and_timed(work, alice, scrape):
    work.model(alice)
    work.training(alice)
    value = scrape()
    assert value("atelier_jobs", state="succeeded", kind="train", family="toy") == 1
    assert value("atelier_jobs", state="queued", kind="train", family="toy") == 1
    assert value("atelier_job_wait_seconds_count", kind="train") == 1
    assert value("atelier_job_run_seconds_bucket", kind="train", le="+Inf") == 1
    assert value("atelier_job_run_seconds_bucket", kind="train", le="86400.0") == 1
    assert value("atelier_queue_oldest_seconds", lane="train") >= 0
    assert value("atelier_queue_oldest_seconds", lane="interactive") == 0
    assert value("atelier_disk_free_bytes") > 0


def test_times_of_jobs_are_never_taken_back(work, alice, scrape, studio):
    """Prometheus asks for counters: what is deleted, or was long ago, stays counted."""
    work.model(alice)
    before = scrape()
    with studio.db.writing() as session:
        session.execute(update(Job).values(finished_at=1.0, deleted_at=2.0))
    work.model(alice)
    now = scrape()
    for name in ("atelier_job_wait_seconds", "atelier_job_run_seconds"):
        counts = [now(f"{name}_bucket", kind="train", le=bucket) for bucket in tallies.BUCKETS]
        assert counts == sorted(counts)
        assert before(f"{name}_count", kind="train") == 1
        assert now(f"{name}_count", kind="train") == counts[-1] == 2
        assert now(f"{name}_sum", kind="train") >= before(f"{name}_sum", kind="train") > 0


def test_lost_leases_are_counted(work, alice, scrape, studio):
    work.training(alice)
    work.claim()
    assert scrape()("atelier_leases_lost_total") == 0
    with studio.db.writing() as session:
        session.execute(update(Job).values(lease_until=1.0))
    reaper.reap(studio)
    assert scrape()("atelier_leases_lost_total") == 1


def test_tallies_of_workers_and_sweeps_are_shown(scrape, studio):
    with studio.db.writing() as session:
        tallies.count(session, "device_seconds", "w-0", 2.5)
        tallies.count(session, "runner_deaths", "w-0")
        tallies.count(session, "swept_bytes", "models", 7)
        tallies.count(session, "webhook_attempts", "sent")
    value = scrape()
    assert value("atelier_device_seconds_total", worker="w-0") == 2.5
    assert value("atelier_runner_deaths_total", worker="w-0") == 1
    assert value("atelier_swept_bytes_total", what="models") == 7
    assert value("atelier_webhook_attempts_total", state="sent") == 1


def test_requests_are_counted_by_template_and_never_by_path(alice, client, scrape):
    for n in range(3):
        alice.get(f"/jobs/unknown{n}")
        client.get(f"/nonsense/{n}")
        client.open("/healthz", method=f"ODD{n}")
    value = scrape()
    route = "/api/v1/jobs/<job_id>"
    assert value("atelier_http_requests_total", method="GET", route=route, status="404") == 3
    assert value("atelier_http_requests_total", method="GET", route="none", status="404") == 3
    assert value("atelier_http_requests_total", method="other", route="none", status="405") == 3
    assert value("atelier_http_request_seconds_count", method="GET", route=route) == 3
    assert "unknown1" not in client.get("/metrics").text


def test_open_streams_are_counted(studio, scrape):
    assert scrape()("atelier_sse_streams") == 0
    slot = studio.feed.slots.take("alice")
    assert scrape()("atelier_sse_streams") == 1
    studio.feed.slots.give(slot)
    assert scrape()("atelier_sse_streams") == 0


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_where_only_this_machine_can_ask_anybody_on_it_may_read(client):
    assert client.get("/metrics").status_code == 200
    through_a_proxy = client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
    assert through_a_proxy.status_code == 401
    from_outside = client.get("/metrics", environ_base={"REMOTE_ADDR": "203.0.113.9"})
    assert from_outside.status_code == 401


@pytest.mark.parametrize(
    "setting",
    [
        {"public_url": "https://atelier.example"},
        {"host": "0.0.0.0", "secret_key": "0123456789abcdef" * 3},
        {"metrics_token": TOKEN},
    ],
)
def test_elsewhere_it_takes_the_token_or_an_administrator(
    setting, make_settings, settings, alice, person
):
    root = person("root", admin=True)
    settings = settings.model_copy(update=setting | {"metrics_token": TOKEN})
    app = create_app(settings, background=False)
    client = app.test_client()
    statuses = [
        client.get("/metrics", headers=headers).status_code
        for headers in (
            {},
            bearer("wrong"),
            bearer(alice.token),
            bearer(TOKEN),
            bearer(root.token),
        )
    ]
    app.extensions["atelier"].close()
    assert statuses == [401, 401, 403, 200, 200]


def test_a_public_address_is_not_open_without_a_token_either(settings):
    app = create_app(
        settings.model_copy(update={"public_url": "https://atelier.example"}), background=False
    )
    status = app.test_client().get("/metrics").status_code
    app.extensions["atelier"].close()
    assert status == 401
