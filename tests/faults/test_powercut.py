"""Fault 46: the power goes while SQLite is written. Whatever was acknowledged is in what the disk then holds.

A disk without power holds everything that was synced, and of the rest anything: the writer is stopped at random
moments, its files are copied, and what the log has beyond the last acknowledged commit is cut or made noise.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from sqlalchemy import select, text

from shared.config import child_environment
from shared.db import Database
from shared.models import Job
from tests.servers import die_with_parent, wait_until
from tests.work import ROOT

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CUTS = 25
HEADER, FRAME = 32, 24 + 4096  # of the log and of each page in it
# Says after each commit which job it was, and where the log then ended.
WRITER = """
import json
from shared.config import read_settings
from shared.db import Database
from tests.faults.test_powercut import end_of_log
from tests.work import Work

settings = read_settings()
db = Database(settings.database)
work = Work(settings, db)
log = settings.data / "atelier.db-wal"
while True:
    job = work.generate(count=1, word="x" * 90)
    print(json.dumps([job, *end_of_log(log)]), flush=True)
"""


def end_of_log(path) -> tuple[str, int]:
    """(salt, length): the salt changes when the log begins anew, over pages of the time before."""
    data = path.read_bytes()
    salt, end = data[16:24], HEADER
    while data[end + 8 : end + 16] == salt:
        end += FRAME
    return salt.hex(), end


@pytest.fixture
def writer(settings):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        cwd=ROOT,
        env=child_environment(settings, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_every_commit_waits_for_the_disk(db):
    with db.writing() as session:
        assert session.scalar(text("PRAGMA synchronous")) == 2
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"


@pytest.mark.slow
def test_a_cut_at_any_moment_keeps_what_was_acknowledged(writer, settings, tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    acknowledged: list[tuple[str, str, int]] = []

    def listen():
        for line in writer.stdout:
            acknowledged.append(tuple(json.loads(line)))

    threading.Thread(target=listen, daemon=True).start()
    source = settings.data / "atelier.db"
    for cut in range(CUTS):
        wanted = len(acknowledged) + draw.randint(1, 60)
        wait_until(lambda n=wanted: len(acknowledged) >= n, 120, "commits")
        until = draw.random() / 50
        threading.Event().wait(until)  # anywhere inside a transaction, too
        writer.send_signal(signal.SIGSTOP)
        wait_until(
            lambda: psutil.Process(writer.pid).status() == psutil.STATUS_STOPPED, 30, "the stop"
        )
        known = list(acknowledged)  # a prefix of what was said, and that is enough
        disk = tmp_path / f"disk{cut}"
        disk.mkdir()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{source}{suffix}", f"{disk / 'atelier.db'}{suffix}")
        writer.send_signal(signal.SIGCONT)
        spoil(disk / "atelier.db-wal", known[-1], draw)
        check(disk / "atelier.db", [job for job, _, _ in known])
        shutil.rmtree(disk)
    assert len({salt for _, salt, _ in acknowledged}) > 1, "the log never began anew"


def spoil(log, last, draw) -> None:
    """What was not synced is lost, or never was what it should be."""
    _, salt, synced = last
    salt_now, end = end_of_log(log)
    if salt_now != salt:
        return  # it has begun anew since; nothing of the new one was acknowledged, all of it may be there
    kept = draw.randint(synced, end)
    with log.open("r+b") as file:
        file.truncate(kept)
        if draw.random() < 0.5:
            file.seek(kept)
            file.write(draw.randbytes(end - kept))


def check(path, jobs) -> None:
    db = Database(f"sqlite:///{path}")
    with db.reading() as session:
        there = set(session.scalars(select(Job.id)))
    with db.writing() as session:
        assert session.scalar(text("PRAGMA integrity_check")) == "ok"
    db.dispose()
    lost = [job for job in jobs if job not in there]
    assert not lost, f"{len(lost)} of {len(jobs)}, the first is number {jobs.index(lost[0])}"
