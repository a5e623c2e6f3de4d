"""Previews of a training: small generations from the best model so far, drawn between its steps and once at its end.

They use the copy that run.offer made, fixed seeds and no global generator, so the training does not
notice them. A failing preview is told once in the job's log and never ends the training.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

from worker import link
from worker.family import Item
from worker.seeds import derive_seed
from worker.station import Station
from worker.training import Training

PREVIEW_SECONDS = 10.0
# ... and rarer the longer a training takes: a day brings some hundreds of rounds, not thousands
PREVIEW_SHARE = 0.02
LAST_SECONDS = 5.0  # a training that has made its steps waits so long at most


class Previews:
    """Of one training."""

    def __init__(self, station: Station, training: Training) -> None:
        self._station = station
        self._training = training
        self._note = station.stepping.note([training.job])
        self._drawn_step = 0
        self._due = 0.0
        self._until: float | None = None  # the last round, where the training waits for it
        self._rounds: deque[tuple[Any, int]] = deque()  # (params, index of its first picture)
        self._waiting: deque[Item] = deque()
        self._sampler: Any = None
        self._indices: dict[int, int] = {}
        self._step = 0
        self._off = not station.configure.previews or not training.module.FAMILY.previews

    @property
    def has_work(self) -> bool:
        if self._off or (self._training.exhausted and not self._may_be_last):
            return False
        return self._is_drawing or self._is_due

    @property
    def _may_be_last(self) -> bool:
        """Of a training that has made its steps the best model is drawn, for it is the one that people get; but not for
        long, and not if an attempt has come this far before and died."""
        training = self._training
        if training.draining or training.run.step == training.resumed_step:
            return False
        if self._until is None:
            self._until = time.monotonic() + LAST_SECONDS
        return time.monotonic() < self._until

    @property
    def _is_drawing(self) -> bool:
        return bool(self._rounds or self._waiting or self._indices)

    @property
    def _is_due(self) -> bool:
        run = self._training.run
        return (
            run.best is not None
            and run.best_step != self._drawn_step
            and (self._training.exhausted or time.monotonic() >= self._due)
        )

    def turn(self) -> None:
        """One step of one preview's sampler."""
        self._station.stepping.mark(self._note)  # if it dies of this, the training is to blame
        try:
            with self._station.inference():
                self._draw()
        except Exception as error:
            self._off = True
            self._stop()
            name = type(error).__name__
            self._station.log(self._training.job, f"No more previews: {name}: {error}")
        finally:
            self._station.stepping.clear()

    def _draw(self) -> None:
        training = self._training
        if training.exhausted and self._is_drawing and self._step != training.run.best_step:
            self._stop()  # there is a better one
        if not self._is_drawing:
            self._begin()
        if not self._waiting and not self._indices:
            self._next_round()
        while self._waiting and self._sampler.room() > 0:
            item = self._waiting.popleft()
            self._indices[self._sampler.admit(item)] = item.index
        for made in self._sampler.step():
            index = self._indices.pop(made.slot)
            if made.error is not None:
                raise made.error
            self._give(index, made)
        if not self._is_drawing:
            self._stop()

    def _begin(self) -> None:
        run, family = self._training.run, self._training.module.FAMILY
        self._model = run.best
        run.lent = True  # the next better one becomes a new copy, not this one overwritten
        self._step = self._drawn_step = run.best_step
        first = 0
        for values in family.previews:
            params = family.generate.model_validate(dict(values))
            self._rounds.append((params, first))
            first += int(getattr(params, "count", 1))

    def _next_round(self) -> None:
        params, first = self._rounds.popleft()
        self._sampler = self._training.module.Sampler(self._model, params)
        count = int(getattr(params, "count", 1))
        for index in range(first, first + count):
            # the same seeds each time, so that one sees the model change and not the draw
            seed = derive_seed(self._training.start.seed, "preview", index)
            self._waiting.append(Item(params, seed, index, count))

    def _give(self, index: int, made: Any) -> None:
        name = f"preview-{self._step}-{index}.{made.suffix}"
        (Path(self._training.start.folder) / name).write_bytes(made.data)
        self._station.tell(
            link.Preview(
                job=self._training.job,
                step=self._step,
                index=index,
                file=name,
                media_type=made.media_type,
            )
        )

    def _stop(self) -> None:
        self._rounds.clear()
        self._waiting.clear()
        self._indices.clear()
        self._sampler = None
        if self._training.run.best is self._model:
            self._training.run.lent = False
        self._model = None
        wait = max(PREVIEW_SECONDS, PREVIEW_SHARE * self._training.report.seconds())
        self._due = time.monotonic() + wait
