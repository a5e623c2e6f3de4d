"""Fault 48: the storage's disk is full: the job waits without a strike and nothing of it is seen; then it succeeds."""

from __future__ import annotations

import subprocess

import pytest
from sqlalchemy import func, select, text

from shared.models import Artifact
from tests.servers import wait_until

MEGABYTES = 6


@pytest.fixture
def small_disk(tmp_path):
    """The storage on a disk of its own. Skips where this user may not mount one; CI's may."""
    folder = tmp_path / "storage"
    folder.mkdir()

    def mount(*options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr}")

    mount(f"size={MEGABYTES}m")
    yield lambda size: mount("remount", f"size={size}m")
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def bench(small_disk, bench):
    """Made on that disk, and asked by the oracle before it goes."""
    return bench


def test_a_full_storage_gives_the_job_back_and_a_larger_one_takes_it(bench, small_disk):
    job = bench.generate("fill_disk", megabytes=2 * MEGABYTES)
    bench.worker()
    wait_until(lambda: bench.job(job).not_before, 60, "the job to be given back")
    found = bench.job(job)
    assert (found.state, found.strikes, found.losses) == ("queued", 0, 0)
    assert bench.events(job, "state")[-1].data["why"] == "storage_full"
    with bench.db.reading() as session:
        assert session.scalar(select(func.count()).select_from(Artifact)) == 0
    assert not [key for key, _ in bench.storage.keys("artifacts")]
    # what is small enough still fits
    assert bench.wait(bench.generate()).state == "succeeded"
    small_disk(64)
    with bench.db.writing() as session:
        session.execute(text("UPDATE job SET not_before = 1 WHERE id = :id"), {"id": job})
    found = bench.wait(job, seconds=60)
    assert (found.state, found.strikes) == ("succeeded", 0)
