"""Sleeps. Trains by counting and generates short texts, without torch: for faults, queues and speed of the platform."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from pathlib import Path

from shared.errors import BadData
from shared.params import Field, Params
from worker.family import Family, Finished, Preview

log = logging.getLogger(__name__)

SLOTS = 16


class TrainParams(Params):
    steps: int = Field(10, ge=1, le=1_000_000, title="Steps", description="How many steps.")
    step_seconds: float = Field(
        0.01, ge=0, le=60, title="Seconds a step", description="How long a step sleeps."
    )
    fail_at: int = Field(
        0, ge=0, le=1_000_000, title="Fail at", description="Raise at this step; 0 never does."
    )
    validate_every: int = Field(
        5, ge=1, le=1_000_000, title="Validate every", description="Steps between two offers."
    )
    mark: str = Field("", max_length=40, title="Mark", description="Logged with each step.")


class GenerateParams(Params):
    count: int = Field(1, ge=1, le=10_000, title="Count", description="How many texts.")
    steps: int = Field(3, ge=1, le=100_000, title="Steps", description="Steps for each text.")
    step_seconds: float = Field(
        0.01, ge=0, le=60, title="Seconds a step", description="How long a step sleeps."
    )
    word: str = Field("sleep", max_length=100, title="Word", description="Stands in each text.")
    bad_index: int = Field(
        -1, ge=-1, le=10_000, title="Bad index", description="This item fails; -1 for none."
    )


class Tally:
    """A number that depends on every step's batch, draw and predecessor."""

    def __init__(self) -> None:
        self.value = 0.0
        self.seen: list[int] = []

    def add(self, batch: list[str], step: int) -> None:
        text = f"{self.value!r}/{batch}/{random.random()!r}"  # the global generator on purpose
        self.value = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 1e6
        self.seen.append(step)

    def state_dict(self) -> dict:
        return {"value": self.value, "seen": self.seen}

    def load_state_dict(self, state: dict) -> None:
        self.value, self.seen = state["value"], list(state["seen"])


def train(params, data, run):
    model = run.keep("model", Tally())
    part = data.split(0.1, run.seed).train
    run.log(f"sleeping {params.steps} times")
    for batch in run.batches(part, 2, params.steps):
        time.sleep(params.step_seconds)
        if run.step == params.fail_at:
            raise BadData("This training was asked to fail.")
        model.add(batch, run.step)
        if params.mark:  # at once: what was made is told, however soon the runner dies
            log.info("%s %s", params.mark, run.step)
        run.state["sum"] = run.state.get("sum", 0.0) + model.value
        if run.step % params.validate_every == 0:
            run.offer(model, 1 / run.step)
        yield {"value": model.value}


def save(model, folder: Path) -> None:
    (folder / "model.json").write_text(json.dumps(model.state_dict()))


def load(folder: Path, device) -> Tally:
    model = Tally()
    model.load_state_dict(json.loads((folder / "model.json").read_text()))
    return model


def describe(model) -> dict:
    return {"schema": {}, "facts": {"value": model.value}}


class Sampler:
    def __init__(self, model, params) -> None:
        self._model = model
        self._slots: dict = {}  # slot: [item, steps made]
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
            entry[1] += 1
            if entry[1] >= entry[0].params.steps:
                finished.append(self._finish(slot, entry[0]))
        return finished

    def _finish(self, slot, item) -> Finished:
        self.drop(slot)
        if item.index == item.params.bad_index:
            return Finished(slot, error=BadData("This item was asked to fail."))
        text = f"{item.params.word} {item.index} {item.seed} {self._model.value!r}\n"
        return Finished(slot, text.encode(), "text/plain", "txt", {"tokens": item.params.steps})

    def peek(self, slot) -> Preview:
        return Preview(text="z" * self._slots[slot][1])

    def drop(self, slot) -> None:
        del self._slots[slot]
        self._free.append(slot)


FAMILY = Family(
    name="sleep_steps",
    version=1,
    title="Sleeper",
    summary="Counts and sleeps.",
    modality="text",
    dataset_kind="text",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"steps": 5},
    generate_example={"count": 2},
    train_rules=(("fail_at <= steps", "fail_at", "must not lie beyond the last step"),),
    train_cost={"flops": "steps * 1000000"},
    generate_cost={"flops": "count * steps * 1000000"},
)
