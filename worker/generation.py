"""All generation jobs in the runner: their items are admitted to samplers, which are stepped in turn.

Items of many jobs and users share a sampler, and join and leave it between its steps.
"""

from __future__ import annotations

import time
from traceback import clear_frames
from typing import Any

from worker import link
from worker.failures import is_out_of_memory
from worker.family import Finished
from worker.model_cache import ModelCache
from worker.request import Request
from worker.station import Station

MOST_SAMPLERS = 4  # with items in them
MOST_IDLE = 2  # kept warm for who comes next


class Batch:
    """One sampler and whose items are in its slots."""

    def __init__(self, key: tuple[Any, ...], sampler: Any) -> None:
        self.key = key
        self.sampler = sampler
        self.slots: dict[int, tuple[Request, int]] = {}
        self.note = b""

    @property
    def model(self) -> tuple[str, str]:
        """(family, SHA-256 of the model): what decides how much memory an item takes."""
        return self.key[1], self.key[0]

    def stepped(self) -> list[Request]:
        """Whose items were in the last step, each as often as they were: of a sampler that does not say, all."""
        slots = getattr(self.sampler, "stepped", self.slots)
        return [self.slots[slot][0] for slot in slots if slot in self.slots]

    def requests(self) -> list[Request]:
        return list({id(request): request for request, _ in self.slots.values()}.values())


class Generations:
    def __init__(self, station: Station) -> None:
        self._station = station
        self._models = ModelCache(station)
        self._requests: dict[str, Request] = {}  # in order of arrival
        self._batches: dict[tuple[Any, ...], Batch] = {}  # least recently stepped first
        self._most: dict[
            tuple[str, str], int
        ] = {}  # items of a model at a time, where memory ran out

    @property
    def has_work(self) -> bool:
        return bool(self._requests)

    def jobs(self) -> list[str]:
        return list(self._requests)

    def holds(self, job: str) -> bool:
        return job in self._requests

    def start(self, start: link.Start) -> None:
        try:
            self._requests[start.job] = Request(self._station, start)
        except Exception as error:
            self._station.fail(start.job, error)

    def drop(self, job: str) -> None:
        """Forgets a job and frees its slots; who asked sends the answer."""
        request = self._requests.pop(job)
        for batch in list(self._batches.values()):
            slots = [slot for slot, (owner, _) in batch.slots.items() if owner is request]
            for slot in slots:
                del batch.slots[slot]
            if slots:
                self._free(batch, slots)

    def _free(self, batch: Batch, slots: list[int]) -> None:
        """If the sampler cannot do even that, the others begin again in a new one."""
        try:
            with self._station.inference():
                for slot in slots:
                    batch.sampler.drop(slot)
        except Exception:
            self._give_up(batch)
        batch.note = self._station.stepping.note(r.job for r in batch.requests())

    def turn(self) -> None:
        """Admits what fits, then one step of one sampler."""
        self._admit()
        busy = [batch for batch in self._batches.values() if batch.slots]
        if not busy:
            return
        batch = busy[0]
        self._batches[batch.key] = self._batches.pop(batch.key)  # to the end of the row
        began = time.monotonic()
        finished = self._step(batch)
        now = time.monotonic()
        self._charge(batch, now - began)
        # all leave their slots first: a failing one drops only what is still in the sampler
        left = [(batch.slots.pop(m.slot), m) for m in finished if m.slot in batch.slots]
        batch.note = self._station.stepping.note(r.job for r in batch.requests())
        for (request, index), made in left:
            self._take(request, index, made)
        self._tell(batch, now)

    def _charge(self, batch: Batch, seconds: float) -> None:
        """Each item that was in the step pays the same."""
        stepped = batch.stepped()
        for request in stepped:
            self._station.charge(request.job, seconds / len(stepped))

    # Admission

    def _admit(self) -> None:
        """One item of each job at a time, first come first, while there is room."""
        waiting = [request for request in self._requests.values() if request.waiting]
        while waiting:
            waiting = [
                request for request in waiting if self._admit_one(request) and request.waiting
            ]

    def _admit_one(self, request: Request) -> bool:
        self._station.stepping.mark(self._station.stepping.note([request.job]))
        try:
            batch = self._batch_of(request)
            if batch is None or self._room(batch) <= 0:
                return False
            index = request.waiting[0]
            with self._station.inference():
                slot = batch.sampler.admit(request.item(index))
            request.waiting.popleft()
            batch.slots[slot] = (request, index)
            batch.note = self._station.stepping.note(r.job for r in batch.requests())
        except Exception as error:
            if not (is_out_of_memory(error) and self._made_space(error)):
                self._fail(request, error)
            return False
        finally:
            self._station.stepping.clear()
        return True

    def _room(self, batch: Batch) -> int:
        room = int(batch.sampler.room())
        most = self._most.get(batch.model)
        return room if most is None else min(room, most - len(batch.slots))

    def _made_space(self, error: Exception) -> bool:
        """Drops what is only kept warm. Whether there was anything: then it is worth trying again."""
        clear_frames(error.__traceback__)  # they hold what the failed pass had made
        idle = [key for key, batch in self._batches.items() if not batch.slots]
        for key in idle:
            del self._batches[key]
        kept = {batch.model for batch in self._batches.values()}
        return self._models.keep_only(kept) or bool(idle)

    def _batch_of(self, request: Request) -> Batch | None:
        """The sampler this request may use, made if there is none; None while too many are busy."""
        key = request.batch_key
        if key in self._batches:
            return self._batches[key]
        idle = [batch for batch in self._batches.values() if not batch.slots]
        if len(self._batches) - len(idle) >= MOST_SAMPLERS:
            return None
        for batch in idle[: max(0, len(idle) - MOST_IDLE + 1)]:
            del self._batches[batch.key]
        loaded = self._models.get(request.start)
        with self._station.inference():
            sampler = request.module.Sampler(loaded.model, request.params)
        self._batches[key] = Batch(key, sampler)
        return self._batches[key]

    # Steps

    def _step(self, batch: Batch) -> list[Finished]:
        self._station.stepping.mark(batch.note)
        try:
            with self._station.inference():
                made: list[Finished] = batch.sampler.step()
                return made
        except Exception as error:
            self._blame(batch, error)
        finally:
            self._station.stepping.clear()
        return []

    def _blame(self, batch: Batch, error: Exception) -> None:
        """Who raised alone has failed. In company nobody knows who it was: all go on alone. Where memory ran out
        nobody is to blame: all go on together, but fewer at a time from now on."""
        stepped = batch.stepped()
        requests, items = list(dict.fromkeys(stepped)), len(stepped)
        self._give_up(batch)
        if is_out_of_memory(error):
            self._made_space(error)
            if items > 1:
                self._most[batch.model] = items // 2
                self._say(requests, f"Memory ran out with {items} at a time; going on with fewer.")
                return
        if len(requests) == 1:
            self._fail(requests[0], error)
            return
        text = f"An error in a shared batch ({type(error).__name__}); going on alone."
        self._say(requests, text)
        for request in requests:
            request.alone = True

    def _say(self, requests: list[Request], text: str) -> None:
        for request in requests:
            self._station.log(request.job, text)

    def _give_up(self, batch: Batch) -> None:
        """Forgets a sampler; what was in it waits again, to be made from its seed."""
        self._batches.pop(batch.key, None)
        for request, index in batch.slots.values():
            request.waiting.append(index)
        batch.slots.clear()

    def _take(self, request: Request, index: int, made: Finished) -> None:
        if request.job not in self._requests:
            return  # it failed with another item of this step
        try:
            if made.error is not None:
                raise made.error
            request.give(index, made)
        except Exception as error:
            self._fail(request, error)
        if request.is_done:
            self._requests.pop(request.job, None)
            if request.alone:
                self._batches.pop(request.batch_key, None)

    def _fail(self, request: Request, error: BaseException) -> None:
        if request.job in self._requests:
            self.drop(request.job)
            self._station.fail(request.job, error)

    def _tell(self, batch: Batch, now: float) -> None:
        for request in batch.requests():
            request.tell_progress(now)
            if request.wants_text(now):
                self._stream(batch, request)

    def _stream(self, batch: Batch, request: Request) -> None:
        slots = [(slot, i) for slot, (owner, i) in batch.slots.items() if owner is request]
        for slot, index in slots:
            try:
                with self._station.inference():
                    seen = batch.sampler.peek(slot)
            except Exception as error:
                request.stop_streaming(error)
                return
            request.tell_text(index, seen)
