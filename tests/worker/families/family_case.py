"""One family under test: its small data, its small parameters, and how it is trained and sampled there.

It does what the runner does between two steps, in this process, so that a check takes a second.
"""

from __future__ import annotations

import io
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from shared.params import clean, schema_of
from tests.device import DEVICE
from tests.worker.families import packed
from worker import checkpoints, randomness
from worker.checkpoints import Snapshots
from worker.family import Finished, Item, load_family
from worker.run import Run
from worker.seeds import derive_seed
from worker.training import narrowed

STEPS = 24
# What makes an example small, where a family has a parameter of this name.
SMALL_TRAIN = {"steps": STEPS, "batch_size": 6, "validate_every": 8, "kl_warmup_steps": 8}
SMALL_GENERATE = {"count": 3, "max_new_tokens": 12, "steps": 3}
WORDS = "the old gate stood open and a small wind came over the wall to where we sat".split()


@dataclass
class Trained:
    """What one training left: files of the saved model, reports, scores of what it offered, checkpoints by step."""

    model: Any
    files: dict[str, bytes]
    metrics: list[dict[str, float]]
    scores: list[float]
    checkpoints: dict[int, Path] = field(default_factory=dict)


class FamilyCase:
    def __init__(self, file: Path, folder: Path) -> None:
        self.file, self.folder = file, folder
        self.module = load_family(file)
        self.family = self.module.FAMILY
        self.ours = file.parent.name == "families" and file.parent.parent.name == "worker"
        self._runs = 0
        self._whole: Trained | None = None

    # Data and parameters

    def data(self, items: int | None = None) -> Any:
        """Read anew each time: whatever a training does to its data, the next one cannot tell."""
        self._runs += 1
        folder = self.folder / f"data{self._runs}"
        if self.family.dataset_kind == "images":
            return packed.pictures(folder, packed.stripes(items or 30, 8, 8))
        return packed.texts(folder, [prose(items or 3000)])

    def example(self, action: str, values: Mapping[str, Any] | None = None) -> Any:
        """The family's own example as its parameters, made small."""
        kind = getattr(self.family, action)
        small = SMALL_TRAIN if action == "train" else SMALL_GENERATE
        fitting = {n: value for n, value in small.items() if n in kind.model_fields}
        given = dict(getattr(self.family, f"{action}_example")) if values is None else dict(values)
        full, problems = clean(schema_of(kind), {**given, **fitting})
        assert not problems, problems
        return kind.model_validate(full)

    def schema_of_model(self, model: Any) -> dict[str, Any]:
        return narrowed(self.family.generate, self.module.describe(model).get("schema", {}))

    # Training

    def train(
        self,
        *,
        seed: int = 1,
        splits: int = 1,
        snapshots_at: Iterable[int] = (),
        resume: Path | None = None,
    ) -> Trained:
        """From the start or a checkpoint to the end; checkpoints go to disk and come from there."""
        data, params = self.data(), self.example("train")
        run = Run(seed=seed, device=DEVICE, splits=splits)
        taken = self._take_at(run, set(snapshots_at))
        if resume is not None:
            saved = checkpoints.read(resume)
            run.restore = lambda: checkpoints.restore(run, saved)
        reports, scores, offer = [], [], run.offer
        run.offer = lambda model, score: (scores.append(float(score)), offer(model, score))
        for report in self.module.train(params, data, run):
            assert_modes_are_clean()
            if report is not None:
                reports.append({name: float(value) for name, value in report.items()})
        assert run.result is not None, "nothing was offered or kept as model"
        return Trained(run.result, self.files_of(run.result), reports, scores, taken)

    def whole(self) -> Trained:
        """The undisturbed training, made once."""
        if self._whole is None:
            self._whole = self.train(snapshots_at=(2, 7, 8, 13, 20))
        return self._whole

    def steps_on(self, data: Any) -> Any:
        """The generator of a training, to be stepped by hand."""
        return self.module.train(self.example("train"), data, Run(seed=1, device=DEVICE))

    def _take_at(self, run: Run, steps: set[int]) -> dict[int, Path]:
        snapshots, taken = Snapshots(run, {}), {}
        folder = self._new_folder("checkpoints")

        def take() -> None:
            if run.step in steps:
                taken[run.step] = folder / f"{run.step}.safetensors"
                checkpoints.write(snapshots.take(), taken[run.step])

        run.wanted, run.at_top = True, take
        return taken

    def files_of(self, model: Any) -> dict[str, bytes]:
        return contents_of(self.saved(model))

    def saved(self, model: Any) -> Path:
        folder = self._new_folder("model")
        self.module.save(model, folder)
        return folder

    def _new_folder(self, name: str) -> Path:
        self._runs += 1
        folder = self.folder / f"{name}{self._runs}"
        folder.mkdir()
        return folder

    # Sampling

    def items(self, seeds: Iterable[int], model: Any) -> list[Item]:
        """One item for each seed, by the family's own example."""
        params = self.example("generate")
        clean_params, problems = clean(self.schema_of_model(model), known(params, self, model))
        assert not problems, problems
        params = self.family.generate.model_validate(clean_params)
        return [Item(params, derive_seed(seed, 0), 0, 3) for seed in seeds]

    def sampler(self, model: Any, items: list[Item]) -> Any:
        return self.module.Sampler(model, items[0].params)

    def generate(self, model: Any, items: list[Item]) -> list[Finished]:
        """All items in one sampler, admitted as there is room; in the order of `items`."""
        with inference():
            sampler, waiting = self.sampler(model, items), list(enumerate(items))
            places: dict[int, int] = {}
            made: dict[int, Finished] = {}
            for _ in range(100_000):
                while waiting and sampler.room() > 0:
                    place, item = waiting.pop(0)
                    places[sampler.admit(item)] = place
                for finished in sampler.step():
                    made[places.pop(finished.slot)] = finished
                if len(made) == len(items):
                    return [made[place] for place in range(len(items))]
        raise AssertionError("the sampler does not come to an end")


def known(params: Any, case: FamilyCase, model: Any) -> dict[str, Any]:
    """The values that this one model still has a parameter for."""
    properties = case.schema_of_model(model)["properties"]
    return {name: value for name, value in params.model_dump().items() if name in properties}


def inference():
    return torch.inference_mode()


def assert_modes_are_clean() -> None:
    assert torch.is_grad_enabled(), "no_grad was left on across a yield"
    assert not torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled(torch.device(DEVICE).type)
    assert torch.get_default_dtype() == torch.float32


def random_state() -> Any:
    return randomness.take(torch.device(DEVICE))


def same_state(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_state(one[k], other[k]) for k in one)
    return one == other


def contents_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def prose(characters: int) -> str:
    """Every sign that a prompt may have, then words in an order that repeats late, with marks and lines."""
    words = (
        WORDS[(n * n + n // 7) % len(WORDS)] + (".\n" if n % 9 == 8 else " ")
        for n in range(characters)
    )
    return (string.printable[:-2] + "".join(words))[:characters]


def assert_same_output(one: Finished, other: Finished) -> None:
    """Text byte for byte; of a picture at most one level on at most 0.1 % of the pixels."""
    assert one.error is None and other.error is None, (one.error, other.error)
    assert (one.media_type, one.suffix) == (other.media_type, other.suffix)
    if one.data == other.data or one.media_type != "image/png":
        assert one.data == other.data
        return
    levels = [np.asarray(Image.open(io.BytesIO(made.data)), np.int16) for made in (one, other)]
    difference = np.abs(levels[0] - levels[1])
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001
