"""Takes memory and touches it: for faults. Without torch."""

from __future__ import annotations

import json
import time
from pathlib import Path

from shared.params import Field, Params
from worker.family import Family, Finished


class TrainParams(Params):
    steps: int = Field(10, ge=1, le=1_000_000, title="Steps", description="How many steps.")
    at: int = Field(
        3, ge=0, le=1_000_000, title="At", description="Takes memory at this step; 0 never."
    )
    megabytes: int = Field(
        100, ge=0, le=1_000_000, title="Megabytes", description="How much memory a step takes."
    )

    batch_size: int = Field(1, ge=1, le=64, title="Batch size", description="Rows of a batch.")
    each_row: bool = Field(
        False,
        title="Each row",
        description="As an activation does: that much for each row of a micro-batch, until it is over.",
    )


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=1000, title="Count", description="How many texts.")
    megabytes: int = Field(
        100, ge=0, le=1_000_000, title="Megabytes", description="How much memory a step takes."
    )


class Nothing:
    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        pass


HELD = []


def misbehave(megabytes: int) -> None:
    for _ in range(megabytes):
        HELD.append(bytearray(b"x") * (1 << 20))


def train(params, data, run):
    run.keep("model", Nothing())
    for batch in run.batches(data.split(0, run.seed).train, params.batch_size, params.steps):
        time.sleep(0.01)
        if run.step == params.at and params.each_row:
            for part, _share in run.parts(batch):
                taken = [bytearray(b"x") * (1 << 20) for _ in range(params.megabytes * len(part))]
                del taken
        elif run.step == params.at:
            misbehave(params.megabytes)
        yield {"step": run.step}


def save(model, folder: Path) -> None:
    (folder / "model.json").write_text(json.dumps(model.state_dict()))


def load(folder: Path, device) -> Nothing:
    return Nothing()


def describe(model) -> dict:
    return {"schema": {}, "facts": {}}


class Sampler:
    """One item at a time, finished in one step that misbehaves."""

    def __init__(self, model, params) -> None:
        self._item = None

    def room(self) -> int:
        return 0 if self._item else 1

    def admit(self, item) -> int:
        self._item = item
        return 0

    def step(self) -> list[Finished]:
        item, self._item = self._item, None
        data = misbehave(item.params.megabytes) or b"survived\n"
        return [Finished(0, data, "text/plain", "txt")]

    def peek(self, slot) -> None:
        return None

    def drop(self, slot) -> None:
        self._item = None


FAMILY = Family(
    name="hog_rss",
    version=1,
    title="Hog",
    summary="Takes memory.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 5, "at": 0},
    generate_example={"count": 1, "megabytes": 1},
)
