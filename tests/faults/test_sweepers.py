"""Fault 60: four that order and run the periodic work at once, one of them stopped for a while: each slot runs once."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from shared.config import child_environment
from shared.models import ShortTask, Sweep
from tests.servers import die_with_parent, wait_until
from tests.work import ROOT

SLOT_SECONDS = 1.0
ORDERER = f"""
import time
from shared.config import read_settings
from shared.db import Database
from shared.queue import Wakeups
from worker import upkeep

upkeep.SWEEP_SECONDS = upkeep.FILES_SECONDS = {SLOT_SECONDS}
settings = read_settings()
own = upkeep.Upkeep(settings, Database(settings.database), Wakeups(settings), "orderer")
while True:
    own.turn(time.monotonic())
    time.sleep(0.01)
"""
COUNT = 4
WORKERS = 2  # of two children each


@pytest.fixture
def orderers(bench):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ORDERER],
            cwd=ROOT,
            env=child_environment(bench.settings, PYTHONPATH=str(ROOT)),
            preexec_fn=die_with_parent,
        )
        for _ in range(COUNT)
    ]
    yield [psutil.Process(process.pid) for process in started]
    for process in started:
        process.kill()
        process.wait()


def slots(bench) -> list[tuple[str, str, int]]:
    """(slot, state, how often it was begun) of the hour's sweeps, each of which leaves a row behind."""
    with bench.db.reading() as session:
        rows = session.execute(
            select(ShortTask.slot, ShortTask.state, ShortTask.fence).where(
                ShortTask.slot.startswith("sweep:hourly:")
            )
        ).all()
    return sorted(tuple(row) for row in rows)


def wait_slots(bench, more: int) -> None:
    wanted = len(slots(bench)) + more
    wait_until(lambda: len(slots(bench)) >= wanted, 90, "the next slots")


def stop_between_writes(bench, processes) -> None:
    """Stops them where none of them holds a lock of the database, which would keep everybody else from writing."""

    def stopped() -> bool:
        for process in processes:
            process.suspend()
        try:
            bench.reap()
        except OperationalError:
            for process in processes:
                process.resume()
            return False
        return True

    wait_until(stopped, 60, "a moment between two writes")


@pytest.mark.slow
def test_four_sweepers_one_paused_fill_each_slot_once(bench, orderers):
    for number in range(WORKERS):
        bench.worker(f"cpu-{number}", kind="cpu")
    wait_slots(bench, 4)
    paused = [orderers[0], bench.workers[0].child()]
    stop_between_writes(bench, paused)
    wait_slots(bench, 6)
    for process in paused:
        process.resume()
    wait_slots(bench, 6)
    for process in orderers:
        process.kill()
    wait_until(lambda: all(state == "done" for _, state, _ in slots(bench)), 120, "the sweeps")
    found = slots(bench)
    assert len(found) >= 16
    # who runs one again has a reason: that it failed, as on a database that is locked for long
    failures = sum(worker.log.read_text().count("sweep failed") for worker in bench.workers)
    assert sum(fence - 1 for _, _, fence in found) <= failures, "a sweep was begun twice"
    with bench.db.reading() as session:
        made = session.scalar(select(func.count()).where(Sweep.why == "hourly"))
    assert len(found) <= made <= len(found) + failures, "not every slot was swept once"
