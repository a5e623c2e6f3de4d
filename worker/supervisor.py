"""The supervisor: one thread that alone claims jobs, renews their leases and talks to the runner.

Everything reaches it through one inbox: wake-ups, what the runner says, what the fetching and the
publishing thread have finished. How a job ended is written by the publisher, in order. No torch here.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shared.config import Settings
from shared.db import Database, cause
from shared.errors import BadData, StorageAway, StorageFull, TooExpensive
from shared.job_records import Flags, Lease
from shared.models import Job
from shared.queue import Wakeups
from shared.storages import open_storage
from worker import endings, link
from worker.device_run import Fetcher, remove_stale_runs
from worker.fetch import Fetching, Prepared
from worker.held import Held, Phase
from worker.leases import Leases
from worker.presence import Presence
from worker.publish import Closed, Ending, Publisher
from worker.runner_process import Died, Said
from worker.runner_watch import RunnerWatch
from worker.upkeep import Upkeep

log = logging.getLogger(__name__)

# Messages of the runner that wait; beyond it the link fills and the runner waits.
LONGEST_INBOX = 2000
CANCEL_SECONDS = 10.0
STOP_SECONDS = 5.0
# A start may lie unread in the link for one beat; after so long the runner has lost the job.
FORGOTTEN_SECONDS = 10.0
# A look costs a few milliseconds of SQL; what happens meanwhile shares it.
LOOK_SECONDS = 0.03
LAST_SECONDS = 8.0  # after the time for draining: to write down what was killed
EXIT_FAILED = 70


class Woken:
    """There may be work."""


class Supervisor:
    def __init__(
        self, settings: Settings, worker_id: str, *, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._beat = beat  # at every turn, and between transactions: none of them waits for long
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._folder = settings.data.resolve() / "runs" / worker_id
        self._folder.mkdir(parents=True, exist_ok=True)
        self._db = db = Database(settings.database, pool_size=5)
        storage = open_storage(settings)
        self._held: dict[str, Held] = {}
        self._presence = Presence(worker_id, "device")
        self._leases = Leases(settings, db, self._presence)
        self._wakeups = Wakeups(settings)
        self._upkeep = Upkeep(settings, db, self._wakeups, worker_id)
        self._publisher = Publisher(settings, db, storage, self._inbox.put)
        self._fetching = Fetching(Fetcher(settings, db, storage), self._inbox.put)
        self._watch = RunnerWatch(settings, self._folder, self._hear)
        self._looked = self._next_look = 0.0
        self._draining = False
        self._give_up_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    # ---- from other threads -------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def wake(self, lane: str = "") -> None:
        self._inbox.put(Woken())

    def stop(self, timeout: float) -> bool:
        """Drains: checkpoints, gives jobs back, ends the runner. Whether that took less than `timeout`."""
        self._stopping.set()
        self.wake()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _hear(self, message: Said | Died) -> None:
        while isinstance(message, Said) and self._inbox.qsize() > LONGEST_INBOX:
            time.sleep(0.05)
        self._inbox.put(message)

    # ---- the loop -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            remove_stale_runs(self._folder)
            while not self._is_over(time.monotonic()):
                self._turn()
            self._end()
        except Exception:
            # A new child starts over; the leases end by themselves.
            log.critical("the supervisor failed", exc_info=True)
            self._watch.kill("supervisor_failed")
            os._exit(EXIT_FAILED)

    def _turn(self) -> None:
        self._beat()
        for message in self._messages():
            self._handle(message)
        now = time.monotonic()
        self._mind_drain(now)
        self._mind_runner(now)
        if now >= self._next_look:
            self._looked, self._next_look = now, now + self._settings.poll_seconds
            try:
                self._look(now)
            except SQLAlchemyError as error:
                log.warning("database: %s", cause(error))

    def _look_soon(self) -> None:
        """At the next chance; many chances in a row make one look."""
        self._next_look = min(self._next_look, self._looked + LOOK_SECONDS)

    def _messages(self) -> Iterator[Any]:
        """What has come; waits for something until SQL is to be looked at again."""
        wait = max(0.0, self._next_look - time.monotonic())
        try:
            yield self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            for _ in range(LONGEST_INBOX):
                yield self._inbox.get_nowait()
        except Empty:
            return

    def _handle(self, message: Any) -> None:
        match message:
            case Woken():
                self._look_soon()
            case Said(runner, said) if runner is self._watch.runner:
                self._said(said)
            case Died(runner) if runner is self._watch.runner:
                self._runner_died(message)
            case Prepared(held):
                self._prepared(held, message)
            case Closed(held):
                self._held.pop(held.key, None)
                self._look_soon()

    # ---- SQL --------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """One cheap read; writes only what is due."""
        room = self._watch.ready and not self._draining
        seen = self._leases.look(list(self._held.values()), room)
        for held, flags in seen.flags:
            self._obey(held, flags)
        if seen.drain and not self._draining:
            self._drain_all("drain")
        if self._leases.is_due(now):
            state = "starting" if not self._watch.ready else "draining" if seen.drain else "ready"
            state = "draining" if self._draining else state
            for held, answer in self._leases.write(list(self._held.values()), now, state):
                if answer is None:
                    self._lost(held)
                else:
                    self._obey(held, answer)
            for held in self._leases.to_rotate(list(self._held.values()), now):
                self._ask(held, "rotate")
        self._beat()
        if seen.lanes and not seen.drain:
            for job in self._leases.claim(list(self._held.values()), seen.lanes):
                self._take(job)
        self._beat()
        self._mind_guard()
        self._upkeep.turn(now)

    def _take(self, job: Job) -> None:
        held = Held(job, Lease(job.id, job.fence), self._folder, since=time.monotonic())
        for other in self._held.values():
            if other.on_device:
                other.beside.add(job.kind)
                held.beside.add(other.job.kind)
        self._held[held.key] = held
        self._mind_guard()
        self._fetching.prepare(held)
        # Another one may fit too.
        self._look_soon()

    def _mind_guard(self) -> None:
        if any(held.on_device for held in self._held.values()):
            self._watch.guard.hold_from(self._leases.renewed)
        else:
            self._watch.guard.release()

    # ---- what the runner says -----------------------------------------------------------------------

    def _said(self, message: Any) -> None:
        now = time.monotonic()
        self._watch.heard(now, working=bool(self._working()))
        if isinstance(message, link.Hello):
            self._greet(message)
        elif isinstance(message, link.Beat):
            self._count(message)
        elif held := self._held.get(message.job):
            held.heard = True
            if held.phase is Phase.RUNNING:
                self._said_of(held, message)
            elif held.phase is Phase.DROPPED and isinstance(message, endings.LAST_WORDS):
                self._publisher.forget(held)

    def _greet(self, hello: link.Hello) -> None:
        for problem in hello.problems:
            log.error("family file %s: %s", problem.file, problem.message)
        self._watch.hello = hello
        self._presence.greet(hello)
        self._leases.announce_soon()
        self._look_soon()

    def _count(self, beat: link.Beat) -> None:
        self._presence.heard(beat)
        for key, seconds in beat.used.items():
            if held := self._held.get(key):
                held.heard = True
                held.used += seconds
        if beat.holds is not None:
            self._find_forgotten(set(beat.holds), time.monotonic())

    def _find_forgotten(self, there: set[str], now: float) -> None:
        """A job that the runner does not have any more, and did not end, would run for ever."""
        for held in self._working():
            if held.key in there:
                held.missed_at = 0.0
            elif not held.missed_at:
                held.missed_at = now
            elif held.phase is Phase.RUNNING and now - held.missed_at > FORGOTTEN_SECONDS:
                text = "The runner forgot about it."
                wait = self._settings.backoff_seconds
                log.error("the runner forgot %s", held.key)
                asked = endings.asked(held) if held.ending else None
                self._close(held, asked or endings.strike(held, "runner_forgot", text, wait))

    def _said_of(self, held: Held, message: Any) -> None:
        match message:
            case link.Checkpoint():
                self._publisher.checkpoint(held, message)
            case link.Output():
                self._publisher.output(held, message)
                held.made += message.role == "output"  # thumbnails come beside them
                if self._leases.more:
                    self._look_soon()  # there is room again
            case link.Preview():
                self._publisher.preview(held, message)
            case link.Done():
                held.phase = Phase.CLOSING
                self._publisher.succeed(held, message)
                self._look_soon()
            case link.Failed():
                self._close(held, endings.failed(held, message, self._settings.backoff_seconds))
            case link.Drained() | link.Cancelled():
                self._close(held, endings.asked(held))
            case _:
                held.pending.add(message)

    # ---- the runs ---------------------------------------------------------------------------------------

    def _prepared(self, held: Held, prepared: Prepared) -> None:
        if held.phase is Phase.DROPPED:
            self._publisher.forget(held)
        elif held.phase is not Phase.PREPARING:
            return
        elif held.ending:
            self._close(held, endings.asked(held))
        elif prepared.start is None:
            self._close(held, self._not_prepared(held, prepared.error))
        elif not self._watch.ready:
            self._close(held, endings.give_back(held, "runner_died"))
        else:
            held.phase, held.sent = Phase.RUNNING, True
            self._watch.send(prepared.start)

    def _not_prepared(self, held: Held, error: Exception | None) -> Ending:
        if isinstance(error, (BadData, TooExpensive)):
            return endings.fail(held, error.code, error.message)
        if isinstance(error, (StorageFull, StorageAway)):
            return endings.give_back(held, error.code, endings.OURS[error.code])
        if isinstance(error, DBAPIError):
            return endings.give_back(held, "database_away")
        text = f"Its inputs could not be fetched ({type(error).__name__})."
        return endings.strike(held, "fetch_failed", text, self._settings.backoff_seconds)

    def _close(self, held: Held, ending: Ending) -> None:
        held.phase = Phase.CLOSING
        self._publisher.close(held, ending)
        self._look_soon()

    def _obey(self, held: Held, flags: Flags) -> None:
        if flags.cancel:
            self._ask(held, "cancel")
        elif flags.deadline:
            self._ask(held, "deadline")
        elif flags.pause:
            self._ask(held, "pause")

    def _ask(self, held: Held, why: str) -> None:
        """Tells the runner to let go of a job. A cancel goes over a drain, nothing over a cancel."""
        at_once = why in endings.AT_ONCE
        if held.ending in endings.AT_ONCE or (held.ending and not at_once):
            return
        if not held.on_device:
            return
        held.ending = why
        held.asked_at = time.monotonic()
        if held.phase is Phase.RUNNING:
            drain = link.Drain(job=held.key, why=why)
            self._watch.send(link.Cancel(job=held.key) if at_once else drain)

    def _lost(self, held: Held) -> None:
        """Someone else has the job, or it has ended; while we close it that is how it looks, too."""
        if not held.on_device:
            return
        log.warning("lease of %s lost", held.key)
        self._ask(held, "lost")
        held.ending = "lost"
        held.phase = Phase.DROPPED

    # ---- the runner ---------------------------------------------------------------------------------------

    def _working(self) -> list[Held]:
        """What the runner has been given and has not said its last word about."""
        there = (Phase.RUNNING, Phase.DROPPED)
        return [held for held in self._held.values() if held.sent and held.phase in there]

    def _mind_runner(self, now: float) -> None:
        if not self._stopping.is_set():
            self._watch.ensure(now)
        if not self._held:
            self._watch.renew_if_worn()
        working = self._working()
        first = any(not held.heard for held in working)
        self._watch.find_deaf(now, working=bool(working), first=first)
        for held in working:
            allowed = self._settings.drain_seconds
            if held.ending in endings.AT_ONCE:
                allowed = CANCEL_SECONDS
            if held.ending and now - held.asked_at > allowed:
                self._watch.kill(held.ending)

    def _runner_died(self, died: Died) -> None:
        killed_for = died.runner.killed_for
        log.warning("runner %s ended: %s %s", died.runner.pid, died.status, killed_for)
        self._watch.died(time.monotonic())
        if killed_for not in endings.BLAMELESS:
            self._presence.runner_died()
        running = [held for held in self._held.values() if held.phase is Phase.RUNNING]
        suspects = endings.suspects(running, died)
        code, text = endings.explain(died)
        for held in list(self._held.values()):
            if held.phase is Phase.DROPPED:
                self._publisher.forget(held)
            elif held.phase is Phase.RUNNING and held.ending:
                self._close(held, endings.asked(held))
            elif held in suspects:
                wait = self._settings.backoff_seconds
                batch = len(suspects) > 1
                self._close(held, endings.strike(held, code, text, wait, suspects_batch=batch))
            elif held.phase is Phase.RUNNING:
                self._close(held, endings.give_back(held, code))

    # ---- the end --------------------------------------------------------------------------------------------

    def _drain_all(self, why: str) -> None:
        for held in self._held.values():
            self._ask(held, why)

    def _mind_drain(self, now: float) -> None:
        if not self._stopping.is_set() or self._draining:
            return
        log.info("draining %s jobs", len(self._held))
        self._draining = True
        self._give_up_at = now + self._settings.drain_seconds + LAST_SECONDS
        self._drain_all("drain")

    def _is_over(self, now: float) -> bool:
        return self._draining and (not self._held or now > self._give_up_at)

    def _end(self) -> None:
        self._watch.stop(STOP_SECONDS)
        self._beat()
        if not self._publisher.finish(STOP_SECONDS):
            log.error("not everything could be written before the end")
        self._leases.say_goodbye()
        self._wakeups.close(1.0)
        self._db.dispose()
