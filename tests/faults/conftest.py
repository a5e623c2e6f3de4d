"""A workbench on each database: real Valkey, workers as processes, and the oracle after every test."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from shared.queue import WAKE_TASK, celery_app, wake_queue
from tests import oracle
from tests.servers import ValkeyServer, wait_until
from tests.work import FAMILIES, ROOT, Work, WorkerProcess, is_alive

TEST_FAMILIES = "sleep_steps,poison_at,deaf,hog_rss,fill_disk"
LANE = "interactive"


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

    def worker_dies(self, failpoint: str, nth: int = 0, **overrides) -> None:
        """A worker that kills itself at a line, when it comes there for the nth time; nobody works after its death."""
        action = f"{failpoint}:kill9:{nth}" if nth else f"{failpoint}:kill9"
        worker = self.worker("device-0", failpoint=action, **overrides)
        child = worker.child()

        def is_dead() -> bool:
            worker.look()  # the runner, too, has to go with it
            return not is_alive(child)

        wait_until(is_dead, 60, f"death at {failpoint}")
        worker.kill_group()

    def assert_resumed(self, job_id: str, worker: WorkerProcess, kept: int | None = None) -> None:
        """A training with MARK that has succeeded went on behind the checkpoint at `kept`, or the one that it names.

        What it says is written before anything is restored. So: the next step that was made is the one behind it, and
        the model has each step once.
        """
        said = re.findall(r"Continues from the checkpoint at step (\d+)\.\n", self.log_of(job_id))
        assert said, "it says nothing of a checkpoint"
        assert kept is None or int(said[-1]) == kept
        steps = self.job(job_id).params["steps"]
        wait_until(
            lambda: (made := worker.steps_made()) and steps in made[-1], what="its last line"
        )
        assert worker.steps_made()[-1] == list(range(int(said[-1]) + 1, steps + 1))
        assert self.seen(job_id) == list(range(1, steps + 1))

    def assert_wakeups_are_taken(self) -> None:
        """Celery consumes. That jobs are done shows nothing: workers look into SQL by themselves."""
        queue = wake_queue(LANE)
        app = celery_app(self.settings)
        with app.connection_for_write() as connection:
            app.send_task(WAKE_TASK, [LANE], queue=queue, connection=connection)
        with self.valkey.client() as client:
            key = self.settings.redis_prefix + queue
            wait_until(lambda: client.llen(key) == 0, what="somebody to take the wake-up")

    def end(self) -> None:
        for worker in self.workers:
            worker.look()
            with suppress(ProcessLookupError):
                worker.kill_group()
        for worker in self.workers:
            worker.assert_nothing_left()


@pytest.fixture
def make_bench(make_settings, database_url, db, valkey, request):
    """The oracle is asked of each at the end, once nothing runs any more.

    It looks into the bench's Redis, too: a test with a `server` of its own asks for that fixture first.
    """
    benches = []

    def make(*, server=valkey, **overrides) -> Bench:
        values = {
            "database_url": database_url,
            "redis_url": server.url,
            "family_path": str(FAMILIES),
            "families": TEST_FAMILIES,
        }
        benches.append(Bench(make_settings(**values | overrides), db, server))
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


@pytest.fixture
def own_valkey():
    """A Valkey that a test may harm. At its end it has to be well again: the oracle looks into it."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-valkey-"))
    server = ValkeyServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_bench(own_valkey, make_bench):
    """A workbench on that Valkey, which outlives it.

    Nothing of Redis ends a lease: it is long, so that a busy machine does not make a job run twice.
    """
    return make_bench(server=own_valkey, lease_seconds=30)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
        for bench in (one for one in item.funcargs.values() if isinstance(one, Work)):
            for worker in getattr(bench, "workers", ()):
                report.sections.append((worker.log.name, worker.log.read_text()[-8000:]))
    return report
