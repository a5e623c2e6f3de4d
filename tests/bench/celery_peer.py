"""The peer of the faults bench: an ordinary Celery project, one task, its results as rows in SQLite.

`celery -A tests.bench.celery_peer worker`, set up by PEER_BROKER, PEER_DATABASE, PEER_LATE and PEER_VISIBILITY.
"""

from __future__ import annotations

import os
import sqlite3
import time

from celery import Celery

TABLES = (
    "CREATE TABLE IF NOT EXISTS started (job TEXT, at REAL)",
    "CREATE TABLE IF NOT EXISTS result (job TEXT, at REAL)",
)

app = Celery("peer", broker=os.environ["PEER_BROKER"])
if os.environ.get("PEER_LATE"):
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
if os.environ.get("PEER_VISIBILITY"):
    seconds = int(os.environ["PEER_VISIBILITY"])
    # and looked at often: with kombu's defaults a message comes back up to 100 s after its time
    often = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    app.conf.broker_transport_options = {"visibility_timeout": seconds, **often}


def insert(table: str, job: str) -> None:
    with sqlite3.connect(os.environ["PEER_DATABASE"], timeout=30) as connection:
        connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (job, time.time()))
    connection.close()


@app.task(name="peer.work", ignore_result=True)
def work(job: str, seconds: float) -> None:
    insert("started", job)
    time.sleep(seconds)
    insert("result", job)
