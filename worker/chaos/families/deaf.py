"""Blocks for long inside one step: for faults. Without torch."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from shared.params import Field, Params
from worker.family import Family, Finished


class TrainParams(Params):
    steps: int = Field(10, ge=1, le=1_000_000, title="Steps", description="How many steps.")
    at: int = Field(3, ge=0, le=1_000_000, title="At", description="Blocks at this step; 0 never.")
    seconds: float = Field(
        30, ge=0, le=3600, title="Seconds", description="How long the step blocks."
    )


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=1000, title="Count", description="How many texts.")
    seconds: float = Field(
        30, ge=0, le=3600, title="Seconds", description="How long the step blocks."
    )


class Nothing:
    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        pass


def train(params, data, run):
    run.keep("model", Nothing())
    for _batch in run.batches(data.split(0, run.seed).train, 1, params.steps):
        time.sleep(0.01)
        if run.step == params.at:
            time.sleep(params.seconds)
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
        self._item: Any = None

    def room(self) -> int:
        return 0 if self._item else 1

    def admit(self, item) -> int:
        self._item = item
        return 0

    def step(self) -> list[Finished]:
        item, self._item = self._item, None
        time.sleep(item.params.seconds)
        return [Finished(0, b"survived\n", "text/plain", "txt")]

    def peek(self, slot) -> None:
        return None

    def drop(self, slot) -> None:
        self._item = None


FAMILY = Family(
    name="deaf",
    version=1,
    title="Deaf",
    summary="Blocks inside a step.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 5, "at": 0},
    generate_example={"count": 1, "seconds": 0.1},
)
