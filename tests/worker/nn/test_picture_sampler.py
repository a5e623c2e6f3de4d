"""Slots of whole pictures: what an error ends, and what memory that runs out puts back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from shared.params import Params
from worker.family import Item
from worker.generation import Batch, Generations
from worker.nn.picture_sampler import PictureSampler

# a model so large that four pictures make a step, one by one
CONFIG = {"channels": 1, "height": 128, "width": 128, "base_channels": 32, "labels": []}
STEP = 4


class Wanted(Params):
    mode: str = "sample"
    class_label: str = ""


class Asked:
    """A request, as far as this looks into it."""

    def __init__(self, job):
        self.job, self.waiting, self.alone = job, [], False


def sampler(code=None, paint=None):
    def blank(_model, codes):
        return torch.zeros(len(codes), 1, 2, 2)

    made = PictureSampler(
        SimpleNamespace(config=CONFIG),
        Wanted(),
        code or (lambda _model, item, _pictures: (torch.full((1, 1), float(item.seed)),)),
        paint or blank,
    )
    assert made.pictures_a_step == STEP
    return made


def admitted(made, count):
    return [made.admit(Item(Wanted(), seed, seed, count)) for seed in range(count)]


def test_an_error_ends_its_own_slot_only():
    def code(_model, item, _pictures):
        if item.seed == 1:
            raise ValueError("odd")
        return (torch.zeros(1, 1),)

    made = sampler(code)
    slots = admitted(made, 3)
    assert {f.slot: f.error is None for f in made.step()} == dict(
        zip(slots, (True, False, True), strict=True)
    )
    assert not made.waiting


@pytest.mark.parametrize("where", ["code", "paint"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPU: not enough memory")])
def test_memory_that_runs_out_is_nobodys_fault_and_ends_no_slot(where, error):
    def fails(*_):
        raise error

    made = sampler(**{where: fails})
    slots = admitted(made, STEP + 1)
    with pytest.raises(type(error)):
        made.step()
    assert list(made.waiting) == slots
    assert made.stepped == slots[:STEP]


def test_only_who_was_in_the_step_pays_and_is_blamed():
    made = sampler()
    charged, failed = {}, []
    station = SimpleNamespace(
        charge=lambda job, seconds: charged.update({job: charged.get(job, 0.0) + seconds}),
        fail=lambda job, error: failed.append(job),
        stepping=SimpleNamespace(note=lambda jobs: b""),
    )
    generations = Generations(station)
    first, other = Asked("a"), Asked("b")
    for request in (first, other):
        generations._requests[request.job] = request
    batch = Batch(("sha", "family"), made)
    for n, slot in enumerate(admitted(made, STEP + 2)):
        batch.slots[slot] = (first if n < STEP else other, n)
    made.step()
    generations._charge(batch, 8.0)
    assert charged == {"a": 8.0}
    generations._blame(batch, ValueError("odd"))
    assert failed == ["a"]
    assert not other.alone and other.waiting == [STEP, STEP + 1]
