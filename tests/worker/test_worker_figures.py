"""What a worker tells for /metrics: the use of its device and the deaths of its runner; and when sweeps are ordered."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import select

from shared import disk
from shared.models import ShortTask, Tally
from shared.queue import Wakeups
from tests.servers import wait_until
from tests.work import FAMILIES, Work, WorkerProcess
from worker.upkeep import Upkeep


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_use_and_deaths_of_a_real_worker_are_told(make_settings, database_url, db, valkey):
    settings = make_settings(
        database_url=database_url,
        redis_url=valkey.url,
        family_path=str(FAMILIES),
        families="sleep_steps",
    )
    work, worker = Work(settings, db), WorkerProcess(settings)

    def told(name):
        with db.reading() as session:
            return sum(session.scalars(select(Tally.value).where(Tally.name == name)))

    try:
        job = work.train(steps=40, step_seconds=0.05)
        work.wait_step(job, 20)
        wait_until(lambda: told("device_seconds") > 0.5, 30, "device-seconds")
        assert told("runner_deaths") == told("strikes") == 0
        worker.runner().kill()
        wait_until(lambda: told("runner_deaths") == 1, 30, "the death")
        work.wait(job, "succeeded")
        assert told("strikes") == 1
        # all of its work was on the device, and the time of the attempt that died counts, too
        assert 1.0 < told("device_seconds") < 60
    finally:
        worker.kill_group()
        worker.assert_nothing_left()


def test_a_disk_is_as_full_as_its_bytes_or_its_files(settings, monkeypatch):
    few = os.statvfs_result((4096, 4096, 100, 50, 50, 1000, 20, 10, 0, 255))
    monkeypatch.setattr(disk.os, "statvfs", lambda _: few)
    assert disk.usage(settings)["free_percent"] == pytest.approx(1)
    unbounded = os.statvfs_result((4096, 4096, 100, 50, 50, 0, 0, 0, 0, 255))
    monkeypatch.setattr(disk.os, "statvfs", lambda _: unbounded)
    assert disk.usage(settings)["free_percent"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("free", "why"), [(4, {"rows", "hourly", "disk"}), (50, {"rows", "hourly"})]
)
def test_a_disk_that_fills_up_is_swept_at_once(settings, db, monkeypatch, free, why):
    monkeypatch.setattr(
        disk.shutil, "disk_usage", lambda _: disk.shutil._ntuple_diskusage(100, 96, free)
    )
    wakeups = Wakeups(settings)
    upkeep = Upkeep(settings, db, wakeups, "w")
    upkeep.turn(1000.0)
    upkeep.turn(1061.0)  # the slot makes it one a minute
    wakeups.close()
    with db.reading() as session:
        found = {row.arguments["why"] for row in session.scalars(select(ShortTask))}
    assert found == why
