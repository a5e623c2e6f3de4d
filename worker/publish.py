"""The publisher: a thread that stores what the runner made and writes how each job ended, in order.

Storing gigabytes takes minutes; heartbeats go on meanwhile in the supervisor's thread. Files come
first and rows after, every row is guarded by the fence, and what a lost lease stored is deleted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from shared import checkpoints, jobs
from shared.config import Settings
from shared.db import Database
from shared.errors import AppError, LeaseLost, StorageFull, Unavailable
from shared.failpoints import failpoint
from shared.ids import new_id
from shared.job_records import Lease, NewArtifact, NewModel, Outcome, Report
from shared.log import job_id
from shared.models import Checkpoint, Job, Result
from shared.storage import CHUNK, LocalStorage
from worker import link
from worker.device_run import facts_of, output_names, remove_run, taken_output
from worker.held import Held

log = logging.getLogger(__name__)
T = TypeVar("T")

# How long a job waits after the disk was full, and after a write to the database failed.
FULL_DISK_SECONDS = 60.0
RETRY_SECONDS = 0.5

Ending = Callable[[Session, Held], object]


@dataclass(frozen=True)
class Closed:
    """The end of a held job is written, or the lease was lost."""

    held: Held


class Publisher:
    """Does one thing after the other, in the order in which it was asked."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        storage: LocalStorage,
        tell: Callable[[Closed], None],
    ) -> None:
        self._settings = settings
        self._db = db
        self._storage = storage
        self._tell = tell
        self._work: SimpleQueue[tuple[Held, Callable[[], None]] | None] = SimpleQueue()
        self._giving_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    # ---- asked by the supervisor ------------------------------------------------------------

    def checkpoint(self, held: Held, message: link.Checkpoint) -> None:
        self._work.put(
            (held, lambda: self._tried(held, lambda: self._store_checkpoint(held, message)))
        )

    def output(self, held: Held, message: link.Output) -> None:
        self._work.put((held, lambda: self._store_output(held, message)))

    def preview(self, held: Held, message: link.Preview) -> None:
        self._work.put(
            (held, lambda: self._tried(held, lambda: self._store_preview(held, message)))
        )

    def succeed(self, held: Held, message: link.Done) -> None:
        used = held.take_used()
        self._work.put((held, lambda: self._succeed(held, message, used)))

    def close(self, held: Held, ending: Ending) -> None:
        """Writes what is still unsaid about the job, and then its end."""
        self._work.put((held, lambda: self._close(held, ending)))

    def forget(self, held: Held) -> None:
        """A job that is not ours any more: nothing to write, only to clean."""
        self._work.put((held, lambda: self._clean(held)))

    def finish(self, timeout: float) -> bool:
        """Ends after all that was asked; whether that took less than `timeout` seconds."""
        self._work.put(None)
        self._thread.join(timeout)
        self._giving_up.set()
        return not self._thread.is_alive()

    # ---- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            held, act = work
            job_id.set(held.lease.job_id)
            try:
                act()
            except Exception as error:
                # The job's own end, when it comes, says what went wrong here.
                log.exception("not stored")
                held.broken = held.broken or error
            job_id.set("")

    def _tried(self, held: Held, store: Callable[[], None]) -> None:
        """A training is worth more than one of its checkpoints or previews."""
        try:
            store()
        except Exception as error:
            log.warning("not stored", exc_info=True)
            text = error.message if isinstance(error, AppError) else type(error).__name__
            held.pending.say(f"A checkpoint or preview could not be stored: {text}")

    def _store_checkpoint(self, held: Held, message: link.Checkpoint) -> None:
        if message.step <= held.checkpointed:
            return  # made again after memory ran out; the row knows the hash of the first
        lease = held.lease
        key = f"checkpoints/{lease.job_id}/{lease.fence}/{message.step}.safetensors"
        sha256, size = self._store(held, message.file, key)
        failpoint("before_checkpoint_row")

        def write(session: Session) -> list[str]:
            known = jobs.add_checkpoint(
                session,
                lease,
                step=message.step,
                score=message.score,
                location=key,
                sha256=sha256,
                size=size,
            )
            if not known:
                return [key]
            return checkpoints.prune(session, lease.job_id, self._settings.keep_checkpoints)

        def applied(session: Session) -> bool:
            row = select(Checkpoint.id).where(Checkpoint.location == key)
            return session.scalar(row) is not None

        stale = self._write(write, applied)
        failpoint("after_checkpoint_row")
        held.checkpointed = message.step
        for location in stale or ():
            self._storage.delete(location)

    def _store_output(self, held: Held, message: link.Output) -> None:
        key = f"artifacts/{held.lease.job_id}/{held.lease.fence}/{message.name}"
        sha256, size = self._store(held, message.file, key)
        failpoint("after_artifact_rename")
        held.stored.append(key)
        held.outputs.append(
            NewArtifact(
                index=message.index,
                name=message.name,
                media_type=message.media_type,
                bytes=size,
                sha256=sha256,
                location=key,
                seed=message.seed,
                role=message.role,
                metrics=message.metrics,
                label=message.label,
            )
        )

    def _store_preview(self, held: Held, message: link.Preview) -> None:
        suffix = message.file.rsplit(".", 1)[-1]
        name = f"preview-{message.step}-{message.index}.{suffix}"
        key = f"artifacts/{held.lease.job_id}/{held.lease.fence}/{name}"
        sha256, size = self._store(held, message.file, key)
        artifact = NewArtifact(
            index=message.index,
            name=name,
            media_type=message.media_type,
            bytes=size,
            sha256=sha256,
            location=key,
            role="preview",
            metrics={"step": message.step},
        )
        held.pending.add_preview(message.step, artifact)

    def _store(self, held: Held, name: str, key: str) -> tuple[str, int]:
        with taken_output(held.out, name) as file:
            return self._storage.put_stream(key, iter(lambda: file.read(CHUNK), b""))

    def _succeed(self, held: Held, message: link.Done, used: float) -> None:
        try:
            if held.broken:
                raise held.broken
            outcome = Outcome(
                artifacts=held.outputs,
                model=self._store_model(held, message),
                metrics=message.metrics,
                build=message.build,
                seconds=used,
            )
        except StorageFull:
            wait = FULL_DISK_SECONDS
            self._close(
                held, lambda s, h: jobs.give_back(s, h.lease, "storage_full", delay_seconds=wait)
            )
            return
        except Exception as error:
            self._close(held, _broken(error, self._settings.backoff_seconds))
            return

        def publish(session: Session, held: Held) -> None:
            jobs.succeed(session, held.lease, outcome)
            failpoint("in_publish")

        self._close(held, publish)
        failpoint("after_publish")

    def _store_model(self, held: Held, message: link.Done) -> NewModel | None:
        if message.model is None:
            return None
        model_id = new_id()
        location = f"models/{model_id}"
        held.stored.append(location)
        files = {}
        for path in output_names(held.out, message.model.folder):
            name = path.partition("/")[2]
            sha256, size = self._store(held, path, f"{location}/{name}")
            files[name] = {"sha256": sha256, "bytes": size}
        sha256, size = facts_of(files)
        return NewModel(
            id=model_id,
            location=location,
            files=files,
            sha256=sha256,
            bytes=size,
            generate_schema=message.model.schema_,
            facts=message.model.facts,
            metrics=message.metrics,
        )

    # ---- the end of a job -----------------------------------------------------------------------

    def _close(self, held: Held, ending: Ending) -> None:
        last = held.pending.take()
        try:
            self._end(held, ending, last)
        except LeaseLost:
            # Cancelled at the last moment, or another worker's by now; if it is still ours, end it.
            self._end(held, _let_go, None)
        except Exception as error:
            if self._giving_up.is_set():
                raise
            log.exception("the end of a job was refused")
            self._end(held, _broken(error, self._settings.backoff_seconds), None)
        finally:
            self._clean(held)

    def _end(self, held: Held, ending: Ending, last: Report | None) -> None:
        lease = held.lease

        def write(session: Session) -> None:
            if last is not None:
                jobs.report(session, lease, last, most_log_bytes=self._settings.log_bytes)
            ending(session, held)

        self._write(write, lambda session: not _is_held(session, lease))

    def _clean(self, held: Held) -> None:
        """Deletes what was stored and did not become visible, and the run's folders."""
        try:
            published = self._is_published(held.lease)
        except Exception:
            # The sweep finds files without a row; it is safer to leave them.
            log.warning("could not see whether a result was published", exc_info=True)
            published = True
        try:
            for location in () if published else held.stored:
                self._storage.delete(location)
            remove_run(held)
        finally:
            # a job that is never told to be closed would keep its lease for ever
            self._tell(Closed(held))

    def _is_published(self, lease: Lease) -> bool:
        with self._db.reading() as session:
            result = session.get(Result, lease.job_id)
            return result is not None and result.fence == lease.fence

    def _write(self, write: Callable[[Session], T], applied: Callable[[Session], bool]) -> T | None:
        """Commits, however long the database is away; None when an attempt that seemed to fail did apply.

        A commit whose answer was lost may have been applied, so the rows are asked before the next attempt.
        """
        while True:
            try:
                with self._db.writing() as session:
                    return write(session)
            except (OperationalError, InterfaceError) as error:
                log.warning("not written yet: %s", error.orig)
            while not self._giving_up.wait(RETRY_SECONDS):
                try:
                    with self._db.reading() as session:
                        if applied(session):
                            return None
                    break
                except (OperationalError, InterfaceError) as error:
                    log.warning("the database is still away: %s", error.orig)
            else:
                raise Unavailable("The database did not come back in time.")


def _is_held(session: Session, lease: Lease) -> bool:
    held = select(Job.id).where(
        Job.id == lease.job_id, Job.fence == lease.fence, Job.state == "running"
    )
    return session.scalar(held) is not None


def _let_go(session: Session, held: Held) -> object:
    return jobs.give_back(session, held.lease, "not_published")


def _broken(error: Exception, backoff_seconds: float) -> Ending:
    """The end of a job whose results could not be published."""
    if isinstance(error, AppError) and error.permanent:
        code, message = error.code, error.message
        return lambda session, held: jobs.fail(session, held.lease, code, message)
    text = f"Its results could not be stored ({type(error).__name__})."
    return lambda session, held: jobs.strike(
        session, held.lease, "publish_failed", text, backoff_seconds=backoff_seconds
    )
