"""One generation job in the runner: which of its items wait, run and are finished, and what it says."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

from worker import link
from worker.failures import plain
from worker.family import Finished, Item, Preview
from worker.grid import grid_of
from worker.labels import label_of, labelled
from worker.model_cache import schema_in
from worker.seeds import derive_seed
from worker.station import Station
from worker.thumbnail import thumbnail
from worker.training_report import numbers

REPORT_SECONDS = 1.0
TEXT_SECONDS = 0.25
MOST_STREAMED = 4  # items of a job whose text is streamed
# So much longer must a text be to be told again: all that is told of it stays a small multiple of it.
GROWTH = 1 / 16


class Request:
    def __init__(self, station: Station, start: link.Start) -> None:
        """Raises what ends the job at once."""
        self.station = station
        self.start = start
        self.job = start.job
        self.module = station.family(start)
        facts = start.model.facts if start.model else {}
        self.params = station.params(start, schema_in(start), facts)
        self.count = int(getattr(self.params, "count", 1))
        self.waiting = deque(range(self.count))
        self.finished = 0
        self.alone = start.no_batch  # never shares a sampler
        self._out = Path(start.folder)
        self._out.mkdir(parents=True, exist_ok=True)
        self._grid = grid_of(self.params)
        # a sheet of them changes none of the pictures, so neither their labels
        self._plain_params = self.params.model_dump(mode="json", exclude={"grid"})
        self._inputs = {name: Path(path) for name, path in start.inputs.items()}
        self._began = time.monotonic()
        self._due = 0.0
        self._text_due = 0.0
        self._told_lengths: dict[int, int] = {}
        self._told = -1  # how many items were finished when that was told last
        self._sums: dict[str, float] = {}

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Requests with the same key may share a sampler."""
        assert self.start.model is not None
        family = self.module.FAMILY
        values = tuple(repr(getattr(self.params, name)) for name in family.batch_by)
        alone = self.job if self.alone else ""
        return (self.start.model.sha256, family.name, values, alone)

    def item(self, index: int) -> Item:
        seed = derive_seed(self.start.seed, index)
        return Item(self.params, seed, index, self.count, self._inputs)

    def give(self, index: int, made: Finished) -> None:
        """Writes and tells one finished item; after the last one the job is done."""
        if self._grid is not None:
            self._grid.paste(index, made.data)
        metrics = numbers(made.metrics)
        for metric, value in metrics.items():
            self._sums[metric] = self._sums.get(metric, 0.0) + (value or 0.0)
        self.finished += 1
        name = f"{index:04d}.{made.suffix}"
        seed = derive_seed(self.start.seed, index)
        self._output("output", index, name, made.data, made.media_type, seed=seed, metrics=metrics)
        if self.finished < self.count:
            return
        if self._grid is not None:
            grid = self._grid
            self._output("grid", self.count, grid.name, grid.png(), grid.media_type)
        self._done()

    def _output(
        self, role: str, index: int, name: str, data: bytes, media_type: str, **more: Any
    ) -> None:
        """Labels a file, writes and tells it. What is not an item of its own has the job's seed."""
        assert self.start.model is not None
        configure = self.station.configure
        made_from = {
            "model": self.start.model.sha256,
            "params": self._plain_params,
            "seed": self.start.seed,
            "index": index,
        }
        label = label_of(producer=configure.producer, service=configure.label_service, **made_from)
        (self._out / name).write_bytes(labelled(data, media_type, label, made_from))
        self._tell(role, index, name, media_type, label=label, **more)
        if small := self._small(data, media_type):
            (self._out / f"{name}.jpg").write_bytes(small)
            self._tell("thumbnail", index, f"{name}.jpg", "image/jpeg", label=label)

    def _small(self, data: bytes, media_type: str) -> bytes | None:
        try:
            return thumbnail(data, media_type)
        except Exception as error:  # a picture that cannot be read is shown as it is
            self.station.log(self.job, f"No thumbnail: {type(error).__name__}: {error}")
            return None

    def _tell(self, role: str, index: int, name: str, media_type: str, **more: Any) -> None:
        self.station.tell(
            link.Output(
                job=self.job,
                index=index,
                role=role,
                name=name,
                file=name,
                media_type=media_type,
                **({"seed": self.start.seed} | more),
            )
        )

    @property
    def is_done(self) -> bool:
        return self.finished == self.count

    def _done(self) -> None:
        seconds = time.monotonic() - self._began
        family = self.module.FAMILY
        metrics: dict[str, Any] = {"items": self.count, "seconds": round(seconds, 3)}
        if "tokens" in self._sums:
            metrics["tokens"] = self._sums["tokens"]
        build = self.station.device.build()
        names = {"family": family.name, "family_version": family.version}
        self.station.tell(
            link.Done(job=self.job, metrics=metrics, build=build | names, seconds=seconds)
        )

    def tell_progress(self, now: float) -> None:
        if now >= self._due and self.finished != self._told:
            self._due = now + REPORT_SECONDS
            self._told = self.finished
            self.station.tell(link.Progress(job=self.job, step=self.finished, total=self.count))

    def wants_text(self, now: float) -> bool:
        if self.count > MOST_STREAMED or now < self._text_due:
            return False
        self._text_due = now + TEXT_SECONDS
        return True

    def stop_streaming(self, error: Exception) -> None:
        """Seeing less is no reason to fail."""
        self._text_due = float("inf")
        self.station.log(self.job, f"No more text so far: {type(error).__name__}: {error}")

    def tell_text(self, index: int, preview: Preview | None) -> None:
        """The text so far, if it grew enough since it was told last."""
        if preview is None or preview.text is None:
            return
        text = plain(preview.text, link.LONGEST_TEXT)
        before = self._told_lengths.get(index, 0)
        if before <= len(text) <= before * (1 + GROWTH):
            return
        self._told_lengths[index] = len(text)
        self.station.tell(link.Text(job=self.job, index=index, text=text))
