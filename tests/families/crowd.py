"""Runs out of memory when too many items are in its sampler: for batches. Without torch."""

from __future__ import annotations

import json
from pathlib import Path

from shared.params import Field, Params
from worker.family import Family, Finished

WORDS = {
    "memory": MemoryError(),
    "alloc": RuntimeError("std::bad_alloc"),
    "device": RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
}


class TrainParams(Params):
    steps: int = Field(1, ge=1, le=10, title="Steps", description="How many steps.")


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=100, title="Count", description="How many texts.")
    fits: int = Field(100, ge=0, le=100, title="Fits", description="Items that memory is for.")
    error: str = Field("memory", max_length=10, title="Error", description="How it runs out.")


class Nothing:
    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state) -> None:
        pass


def train(params, data, run):
    run.keep("model", Nothing())
    for _batch in run.batches(data.split(0, run.seed).train, 1, params.steps):
        yield {"step": run.step}


def save(model, folder: Path) -> None:
    (folder / "model.json").write_text(json.dumps(model.state_dict()))


def load(folder: Path, device) -> Nothing:
    return Nothing()


def describe(model) -> dict:
    return {"schema": {}, "facts": {}}


class Sampler:
    """All of its items in one step, unless they are too many."""

    def __init__(self, model, params) -> None:
        self._items = {}

    def room(self) -> int:
        return 64 - len(self._items)

    def admit(self, item) -> int:
        slot = max(self._items, default=0) + 1
        self._items[slot] = item
        return slot

    def step(self) -> list[Finished]:
        here = len(self._items)
        for item in self._items.values():
            if here > item.params.fits:
                raise WORDS[item.params.error]
        items, self._items = self._items, {}
        return [
            Finished(
                slot, f"{item.index} {item.seed}\n".encode(), "text/plain", "txt", {"here": here}
            )
            for slot, item in items.items()
        ]

    def peek(self, slot) -> None:
        return None

    def drop(self, slot) -> None:
        self._items.pop(slot, None)


FAMILY = Family(
    name="crowd",
    version=1,
    title="Crowd",
    summary="Wants company, but not too much.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 1},
    generate_example={"count": 2},
)
