"""Fault 16: memory runs out, as an exception or by the kernel's hand; the next try needs less."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from shared.models import Result
from tests.conftest import cannot
from tests.servers import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# of version 1 and of version 2: where a group is made, and what its limit is called
GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)
MEGABYTES = 120
LIMIT = 400 << 20


@pytest.fixture
def memory_group():
    """A control group with little memory. Skips where this user may not make one; CI's may."""
    for base, name in GROUPS:
        group = base / f"atelier-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(str(LIMIT))
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        yield group
        wait_until(lambda: _removed(group), 30, "the end of the group")  # noqa: B023
        return
    cannot("no control group with a memory limit can be made here")


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def metrics_of(bench, job):
    with bench.db.reading() as session:
        return session.get_one(Result, job).metrics


def test_a_training_that_memory_is_too_small_for_fails_with_advice(make_bench):
    bench = make_bench(runner_memory_bytes=1 << 30)
    job = bench.train("hog_rss", at=3, megabytes=4000)
    bench.worker()
    found = bench.wait(job, seconds=60)
    assert (found.state, found.error_code) == ("failed", "oom")
    assert "Memory ran out at step 3" in found.error_message and "smaller" in found.error_message
    assert "oom" in [event.data.get("why") for event in bench.events(job, "state")]


def test_a_batch_that_is_too_large_is_made_in_parts_without_a_strike(make_bench):
    bench = make_bench(runner_memory_bytes=1 << 30)
    job = bench.train("hog_rss", at=3, megabytes=400, batch_size=4, each_row=True)
    bench.worker()
    found = bench.wait(job, seconds=60)
    assert (found.state, found.strikes, found.attempt) == ("succeeded", 0, 1)
    assert metrics_of(bench, job)["micro_batches"] >= 2


def test_a_runner_that_the_kernel_kills_is_a_strike_and_the_next_makes_smaller_parts(
    bench, memory_group
):
    worker = bench.worker()
    processes = [worker.child(), worker.runner()]
    assert bench.wait(bench.train("hog_rss", at=0, steps=2)).state == "succeeded"
    for process in processes:
        (memory_group / "cgroup.procs").write_text(str(process.pid))
    job = bench.train("hog_rss", at=3, megabytes=MEGABYTES, batch_size=4, each_row=True)
    found = bench.wait(job, seconds=90)
    whys = [event.data.get("why") for event in bench.events(job, "state")]
    assert "oom" in whys
    assert (found.state, found.attempt) == ("succeeded", 1 + whys.count("oom"))
    assert metrics_of(bench, job)["micro_batches"] >= 2
    assert worker.child() == processes[0], "the kernel chose the supervisor"
    worker.kill_group()
