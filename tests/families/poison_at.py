"""Kills its own process, or raises, at a chosen step: for faults. Without torch."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Literal

from shared.params import Field, Params
from worker.family import Family, Finished

SLOTS = 16
Mode = Literal["kill", "segv", "raise", "exit"]


class TrainParams(Params):
    steps: int = Field(10, ge=1, le=1_000_000, title="Steps", description="How many steps.")
    step_seconds: float = Field(
        0.01, ge=0, le=60, title="Seconds a step", description="How long a step sleeps."
    )
    at: int = Field(3, ge=0, le=1_000_000, title="At", description="Dies at this step; 0 never.")
    mode: Mode = Field("kill", title="Mode", description="How it dies.")
    after_each_checkpoint: bool = Field(
        False,
        title="After each checkpoint",
        description="Dies so many steps after where each attempt began, instead of at a fixed one.",
    )


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=1000, title="Count", description="How many texts.")
    steps: int = Field(5, ge=1, le=100_000, title="Steps", description="Steps for each text.")
    step_seconds: float = Field(
        0.01, ge=0, le=60, title="Seconds a step", description="How long a step sleeps."
    )
    at: int = Field(0, ge=0, le=100_000, title="At", description="Dies at this step; 0 never.")
    mode: Mode = Field("kill", title="Mode", description="How it dies.")


def die(mode: str) -> None:
    if mode == "raise":
        raise RuntimeError("poison")
    if mode == "exit":
        os._exit(1)
    os.kill(os.getpid(), signal.SIGKILL if mode == "kill" else signal.SIGSEGV)


class Count:
    def __init__(self) -> None:
        self.steps = 0

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def train(params, data, run):
    model = run.keep("model", Count())
    first = None
    for _batch in run.batches(data.split(0, run.seed).train, 1, params.steps):
        first = run.step if first is None else first
        since = run.step - first + 1 if params.after_each_checkpoint else run.step
        time.sleep(params.step_seconds)
        if since == params.at:
            die(params.mode)
        model.steps += 1
        yield {"steps": model.steps}


def save(model, folder: Path) -> None:
    (folder / "model.json").write_text(json.dumps(model.state_dict()))


def load(folder: Path, device) -> Count:
    model = Count()
    model.load_state_dict(json.loads((folder / "model.json").read_text()))
    return model


def describe(model) -> dict:
    return {"schema": {}, "facts": {"steps": model.steps}}


class Sampler:
    def __init__(self, model, params) -> None:
        self._slots = {}
        self._free = list(range(SLOTS))

    def room(self) -> int:
        return len(self._free)

    def admit(self, item) -> int:
        slot = self._free.pop(0)
        self._slots[slot] = [item, 0]
        return slot

    def step(self) -> list[Finished]:
        time.sleep(max(entry[0].params.step_seconds for entry in self._slots.values()))
        finished = []
        for slot, entry in list(self._slots.items()):
            item, entry[1] = entry[0], entry[1] + 1
            if entry[1] == item.params.at:
                die(item.params.mode)
            if entry[1] >= item.params.steps:
                self.drop(slot)
                text = f"{item.index} {item.seed}\n".encode()
                finished.append(Finished(slot, text, "text/plain", "txt"))
        return finished

    def peek(self, slot) -> None:
        return None

    def drop(self, slot) -> None:
        del self._slots[slot]
        self._free.append(slot)


FAMILY = Family(
    name="poison_at",
    version=1,
    title="Poison",
    summary="Dies at a chosen step.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 5, "at": 0},
    generate_example={"count": 1},
)
