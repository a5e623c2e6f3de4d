"""A workbench on each database: real Valkey, workers as processes, and the oracle after every test."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests import oracle
from tests.servers import wait_until
from tests.work import FAMILIES, ROOT, Work, WorkerProcess, is_alive

TEST_FAMILIES = "sleep_steps,poison_at,deaf,hog_rss,fill_disk"


class Bench(Work):
    """Work, and the workers of one test."""

    def __init__(self, settings, db, valkey) -> None:
        super().__init__(settings, db)
        self.valkey = valkey
        self.workers: list[WorkerProcess] = []

    def worker(
        self, name="device-0", *, kind="device", failpoint="", root=ROOT, **overrides
    ) -> WorkerProcess:
        settings = self.settings.model_copy(update=overrides)
        started = WorkerProcess(settings, name, kind, failpoint, root)
        self.workers.append(started)
        return started

    def worker_dies(self, failpoint: str, **overrides) -> None:
        """A worker that kills itself at a line, and after its death one that does not."""
        worker = self.worker("device-0", failpoint=f"{failpoint}:kill9", **overrides)
        child = worker.child()
        wait_until(lambda: not is_alive(child), 60, f"death at {failpoint}")
        worker.kill_group()
        self.worker("device-1", **overrides)

    def end(self) -> None:
        for worker in self.workers:
            worker.look()
            with suppress(ProcessLookupError):
                worker.kill_group()
        for worker in self.workers:
            worker.assert_nothing_left()


@pytest.fixture
def make_bench(make_settings, database_url, db, valkey, request):
    """The oracle is asked of each at the end, once nothing runs any more."""
    benches = []

    def make(**overrides) -> Bench:
        values = {
            "database_url": database_url,
            "redis_url": valkey.url,
            "family_path": str(FAMILIES),
            "families": TEST_FAMILIES,
        }
        benches.append(Bench(make_settings(**values | overrides), db, valkey))
        return benches[-1]

    yield make
    for bench in benches:
        bench.end()
    if not getattr(request.node, "failed", False):
        for bench in benches:
            bench.reap()  # what a worker held that the test killed
            oracle.check(bench, bench.valkey)


@pytest.fixture
def overrides():
    """Settings of a file's own for `bench`."""
    return {}


@pytest.fixture
def bench(make_bench, overrides):
    return make_bench(**overrides)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
        for worker in getattr(item.funcargs.get("bench"), "workers", ()):
            report.sections.append((worker.log.name, worker.log.read_text()[-8000:]))
    return report
