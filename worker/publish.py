"""The publisher: a thread that stores what the runner made and writes how each job ended, in order.

Storing gigabytes takes minutes; heartbeats go on meanwhile in the supervisor's thread. Files come
first and rows after, every row is guarded by the fence, and what a lost lease stored is deleted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import checkpoints, jobs
from shared.config import Settings
from shared.db import Database
from shared.errors import AppError, LeaseLost, StorageAway, StorageFull
from shared.failpoints import failpoint
from shared.ids import new_id
from shared.job_records import Lease, NewArtifact, NewModel, Outcome, Report
from shared.log import job_id
from shared.models import Checkpoint
from shared.storage import WAITS, Storage, chunks_of
from worker import link, together
from worker.commits import Commits, has_result, is_held
from worker.device_run import facts_of, output_names, remove_run, taken_output
from worker.held import Held
from worker.reach import Reach
from worker.together import Finished

log = logging.getLogger(__name__)

# So many generations end in one transaction, and the first waits no longer than this for the others.
MOST_TOGETHER = 32
TOGETHER_SECONDS = 0.05

Ending = Callable[[Session, Held], object]


@dataclass(frozen=True)
class Closed:
    """The end of a held job is written, or the lease was lost."""

    held: Held


@dataclass(frozen=True)
class _Task:
    held: Held
    act: Callable[[], None]
    quick: bool  # what has finished may wait for it


class Publisher:
    """Does one thing after the other, in the order in which it was asked."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        storage: Storage,
        tell: Callable[[Closed], None],
    ) -> None:
        self._settings = settings
        self._db = db
        self._storage = storage
        self._reach = Reach()
        self._tell = tell
        self._work: SimpleQueue[_Task | None] = SimpleQueue()
        self._finished: list[Finished] = []  # to be written together
        self._finished_at = 0.0
        self._giving_up = threading.Event()
        self._commits = Commits(db, self._giving_up)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    # ---- asked by the supervisor ------------------------------------------------------------

    def checkpoint(self, held: Held, message: link.Checkpoint) -> None:
        self._ask(held, lambda: self._tried(held, lambda: self._store_checkpoint(held, message)))

    def output(self, held: Held, message: link.Output) -> None:
        self._ask(held, lambda: self._store_output(held, message), quick=True)

    def preview(self, held: Held, message: link.Preview) -> None:
        self._ask(held, lambda: self._tried(held, lambda: self._store_preview(held, message)))

    def succeed(self, held: Held, message: link.Done) -> None:
        used = held.take_used()
        quick = message.model is None
        self._ask(held, lambda: self._succeed(held, message, used), quick=quick)

    def close(self, held: Held, ending: Ending) -> None:
        """Writes what is still unsaid about the job, and then its end."""
        self._ask(held, lambda: self._close(held, ending))

    def forget(self, held: Held) -> None:
        """A job that is not ours any more: nothing to write, only to clean."""
        self._ask(held, lambda: self._clean(held))

    def _ask(self, held: Held, act: Callable[[], None], quick: bool = False) -> None:
        self._work.put(_Task(held, act, quick))

    def finish(self, timeout: float) -> bool:
        """Ends after all that was asked; whether that took less than `timeout` seconds."""
        self._work.put(None)
        self._thread.join(timeout)
        self._giving_up.set()
        return not self._thread.is_alive()

    # ---- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while (task := self._next()) is not None:
            job_id.set(task.held.lease.job_id)
            try:
                task.act()
            except Exception as error:
                # The job's own end, when it comes, says what went wrong here.
                log.exception("not stored")
                task.held.broken = task.held.broken or error
            job_id.set("")

    def _next(self) -> _Task | None:
        """What has finished waits for others only while there is more to do, and all of that is quick."""
        if not self._finished:
            return self._work.get()
        try:
            task = self._work.get_nowait()
        except Empty:
            self._publish()
            return self._work.get()
        late = time.monotonic() - self._finished_at > TOGETHER_SECONDS
        if task is None or not task.quick or late or len(self._finished) >= MOST_TOGETHER:
            self._publish()
        return task

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

        stale = self._commits.write(write, applied)
        failpoint("after_checkpoint_row")
        held.checkpointed = message.step
        for location in stale or ():
            self._storage.delete(location)

    def _store_output(self, held: Held, message: link.Output) -> None:
        key = f"artifacts/{held.lease.job_id}/{held.lease.fence}/{message.name}"
        # what shares a commit shares the waiting for the disk, too
        sha256, size = self._store(held, message.file, key, durable=False)
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

    def _store(self, held: Held, name: str, key: str, *, durable: bool = True) -> tuple[str, int]:
        with self._reach(), taken_output(held.out, name) as file:
            return self._storage.put_stream(key, chunks_of(file), durable=durable)

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
                beside=frozenset(held.beside),
            )
        except Exception as error:
            self._not_stored(held, error)
            return
        if not self._finished:
            self._finished_at = time.monotonic()
        self._finished.append(Finished(held, outcome, held.pending.take()))
        if message.model is not None:
            self._publish()

    def _not_stored(self, held: Held, error: Exception) -> None:
        if isinstance(error, (StorageFull, StorageAway)):
            why, wait = error.code, WAITS[error.code]
            self._close(held, lambda s, h: jobs.give_back(s, h.lease, why, delay_seconds=wait))
        else:
            self._close(held, _broken(error, self._settings.backoff_seconds))

    def _publish(self) -> None:
        """Everything that has finished, in one transaction; what cannot be written with the others ends alone."""
        finished, self._finished = self._finished, []
        try:
            self._settle(finished)
        except Exception:  # whose file it was is seen one by one
            finished = [one for one in finished if self._settled(one)]
        failpoint("before_publish")
        written: list[Finished] = []
        leases = [one.held.lease for one in finished]

        def write(session: Session) -> None:
            written[:] = together.publish(session, finished, self._settings.log_bytes)
            failpoint("in_publish")

        try:
            if finished:
                self._commits.write(
                    write, lambda session: any(has_result(session, one) for one in leases)
                )
        except Exception:
            log.exception("not published together")
            written.clear()
        failpoint("after_publish")
        for one in finished:
            job_id.set(one.held.lease.job_id)
            if one in written:
                self._tidy(one.held)
            elif self._giving_up.is_set():
                self._clean(one.held)
            else:
                self._end_alone(one)

    def _settle(self, finished: list[Finished]) -> None:
        self._storage.settle(file.location for one in finished for file in one.outcome.artifacts)

    def _settled(self, one: Finished) -> bool:
        """Its files are on the disk; if not, it has ended otherwise."""
        try:
            self._settle([one])
        except Exception as error:
            self._not_stored(one.held, error)
            return False
        return True

    def _end_alone(self, one: Finished) -> None:
        if one.last is not None:
            one.held.pending.put_back(one.last)
        self._close(one.held, lambda s, held: jobs.succeed(s, held.lease, one.outcome))

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

        self._commits.write(write, lambda session: not is_held(session, lease))

    def _clean(self, held: Held) -> None:
        """Deletes what was stored and did not become visible, and the run's folders."""
        try:
            published = self._is_published(held.lease)
        except Exception:
            # The sweep finds files without a row; it is safer to leave them.
            log.warning("could not see whether a result was published", exc_info=True)
            published = True
        self._tidy(held, () if published else held.stored)

    def _tidy(self, held: Held, useless: Iterable[str] = ()) -> None:
        try:
            remove_run(held)
            for location in useless:
                with self._reach():
                    self._storage.delete(location)
        finally:
            # a job that is never told to be closed would keep its lease for ever
            self._tell(Closed(held))

    def _is_published(self, lease: Lease) -> bool:
        with self._db.reading() as session:
            return has_result(session, lease)


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
