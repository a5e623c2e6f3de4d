"""The two Celery tasks, which only nudge, and the thread of a cpu worker that runs short tasks."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from shared import short_tasks
from shared.config import Settings
from shared.db import Database, cause, is_away, is_disk_full
from shared.errors import StorageAway, StorageFull
from shared.log import job_id
from shared.models import ShortTask
from shared.queue import RUN_DUE_TASK, TASKS_QUEUE, WAKE_TASK, redis_client, wake_key
from shared.schema import Schema
from shared.storage import WAITS, Storage, told_when_full
from shared.storages import open_storage
from worker.courier import Courier
from worker.presence import Presence

log = logging.getLogger(__name__)

# Long enough for the largest upload to be checked between two renewals.
LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
ALIVE_SECONDS = 1.0
AGAIN_SECONDS = 0.5
EXIT_FAILED = 70

Handler = Callable[[Settings, Database, Storage, dict[str, Any]], None]


def check_dataset(
    settings: Settings, db: Database, storage: Storage, arguments: dict[str, Any]
) -> None:
    from worker.data_check import check_dataset as check

    partial = bool(arguments.get("accept_partial"))
    check(settings, db, storage, arguments["dataset_id"], accept_partial=partial)


def sweep(settings: Settings, db: Database, storage: Storage, arguments: dict[str, Any]) -> None:
    from worker.sweep import sweep as run

    run(
        settings,
        db,
        storage,
        files=bool(arguments.get("files")),
        why=str(arguments.get("why", "rows")),
        sweep_id=str(arguments.get("sweep_id", "")),
    )


HANDLERS: dict[str, Handler] = {"check_dataset": check_dataset, "sweep": sweep}


def forget_wakeup(settings: Settings, name: str) -> None:
    """Lets the next wake-up through; called before SQL is looked at, or that one would be lost."""
    try:
        redis_client(settings).delete(wake_key(settings, name))
    except Exception as error:
        # The key expires by itself, and we poll.
        log.debug("wake-up key of %s not deleted: %s", name, error)


class TaskRunner:
    """The thread of a cpu worker's child: runs what is due, woken by Celery or by the clock."""

    def __init__(
        self, settings: Settings, worker_id: str, *, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._alive = beat
        self._db = Database(settings.database, pool_size=2)
        self._schema = Schema()
        self._storage = open_storage(settings)
        self._presence = Presence(worker_id, "cpu")
        self._courier = Courier(settings, self._db)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="short-tasks", daemon=True)
        self._next_beat = 0.0

    def start(self) -> None:
        self._thread.start()
        self._courier.start()

    def wake(self, lane: str = "") -> None:
        self._woken.set()

    def stop(self, timeout: float) -> bool:
        """Ends after the task that runs; one that takes longer is run again by someone else."""
        self._stopping.set()
        self._woken.set()
        until = time.monotonic() + timeout
        sent = self._courier.stop(timeout)
        self._thread.join(max(0.0, until - time.monotonic()))
        return sent and not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._alive()
            try:
                self._beat("ready")
                self.run_due()
            except SQLAlchemyError as error:
                log.warning("database: %s", cause(error))
            except Exception:
                # A new child starts over; the task is due again when its lease ends.
                log.critical("the task runner failed", exc_info=True)
                os._exit(EXIT_FAILED)
            self._woken.wait(self._settings.poll_seconds)
            self._woken.clear()
        self._goodbye()
        self._db.dispose()

    def _goodbye(self) -> None:
        self._next_beat = 0.0
        try:
            self._beat("gone")
        except SQLAlchemyError as error:
            log.warning("not signed off: %s", cause(error))

    def _beat(self, state: str) -> None:
        if time.monotonic() < self._next_beat:
            return
        with self._db.writing() as session:
            self._presence.write(session, state)
            short_tasks.fail_worn_out(session)
        self._next_beat = time.monotonic() + self._settings.heartbeat_seconds

    def run_due(self) -> None:
        """Runs what is due, one after another."""
        while not self._stopping.is_set() and (task := self._claim()):
            self._alive()
            self._run_task(task)

    def _claim(self) -> ShortTask | None:
        with self._db.reading() as session:
            if not self._schema.fits(session) or not short_tasks.due_since(session, 0):
                return None
        with self._db.writing() as session:
            task = short_tasks.claim_due(session, LEASE_SECONDS)
            # after it: the claim may have waited for a migration to let go of the table
            if task and not self._schema.fits(session):
                session.rollback()
                return None
            return task

    def _run_task(self, task: ShortTask) -> None:
        job_id.set(f"task:{task.id}")
        try:
            with _Renewal(self._db, task, self._alive):
                with told_when_full():
                    HANDLERS[task.name](self._settings, self._db, self._storage, task.arguments)
        except Exception as error:
            self._failed(task, error)
        else:
            self._write(lambda session: short_tasks.finish(session, task, task.fence))
        finally:
            job_id.set("")

    def _failed(self, task: ShortTask, error: Exception) -> None:
        text = cause(error) if isinstance(error, DBAPIError) else str(error)
        text = f"{type(error).__name__}: {text}"
        if code := _our_fault(error):
            log.warning("short task %s waits: %s", task.name, text)
            wait = WAITS[code]
            self._write(lambda s: short_tasks.put_off(s, task, task.fence, text, wait))
        else:
            log.error("short task %s failed", task.name, exc_info=error)
            self._write(lambda s: short_tasks.retry_or_fail(s, task, task.fence, text))

    def _write(self, end: Callable[[Session], object]) -> None:
        """However long the database is away: a task whose end is not written has one strike more."""
        while True:
            try:
                with self._db.writing() as session:
                    end(session)
                return
            except DBAPIError as error:
                if not is_away(error) or self._stopping.wait(AGAIN_SECONDS):
                    raise
                log.warning("not written yet: %s", error.orig)
                self._alive()


def _our_fault(error: Exception) -> str:
    """The code of what keeps any task from being done here; empty when it is the task's own."""
    if isinstance(error, (StorageFull, StorageAway)):
        return error.code
    if is_away(error):
        return "storage_full" if is_disk_full(error) else "storage_away"
    return ""


class _Renewal:
    """While the block runs, a thread renews the lease of its short task and says that this process lives."""

    def __init__(self, db: Database, task: ShortTask, alive: Callable[[], None]) -> None:
        self._db, self._task, self._alive = db, task, alive
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="renewal", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        renew_at = time.monotonic() + RENEW_SECONDS
        while not self._over.wait(min(ALIVE_SECONDS, RENEW_SECONDS)):
            self._alive()
            if time.monotonic() < renew_at:
                continue
            renew_at = time.monotonic() + RENEW_SECONDS
            try:
                with self._db.writing() as session:
                    short_tasks.renew(session, self._task, self._task.fence, LEASE_SECONDS)
            except Exception:
                log.warning("lease of a short task not renewed", exc_info=True)


def add_tasks(app: Any, settings: Settings, wake: Callable[[str], None]) -> None:
    """Registers both tasks on a Celery app. `wake` is called in the child, and returns at once."""

    @app.task(name=WAKE_TASK)  # type: ignore[untyped-decorator]
    def woken(lane: str) -> None:
        forget_wakeup(settings, lane)
        wake(lane)

    @app.task(name=RUN_DUE_TASK)  # type: ignore[untyped-decorator]
    def run_due() -> None:
        forget_wakeup(settings, TASKS_QUEUE)
        wake("cpu")
