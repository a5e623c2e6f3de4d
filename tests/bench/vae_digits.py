"""How good the conditional VAE's digits are: would a classifier that was trained on real digits know them?

`python -m tests.bench.vae_digits`: trains on scikit-learn's digits by the family's example, draws 200 of each class
through the real sampler, and shows the PNGs to an SVC on raw pixels of 90 % of the real digits (bar: 90 % of each
class). Diversity is the mean distance between two samples of a class over that of the real ones: 1 is as varied,
0 all the same.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from shared.samples import digits
from tests.device import DEVICE
from tests.worker.families.packed import pictures
from worker.families import vae
from worker.family import Item
from worker.run import Run
from worker.seeds import derive_seed

SAMPLES = 200
BAR = 0.9


def main() -> int:
    return bench(vae, __doc__ or "")


def bench(family: Any, about: str) -> int:
    """Of a family of pictures by class."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--params", type=json.loads, default={}, help="JSON over the example")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    params = family.TrainParams(**{**family.FAMILY.train_example, **arguments.params})
    model, seconds, last = trained(family, params, arguments.seed)
    print(f"trained {params.steps} steps in {seconds:.0f} s; {said(last)}")
    started = time.perf_counter()
    drawn = {label: samples(family, model, label) for label in model.config["labels"]}
    print(f"drew {SAMPLES} of each class in {time.perf_counter() - started:.1f} s")
    return judged(drawn)


def trained(family: Any, params: Any, seed: int):
    """(the model that the platform would keep, seconds, last metrics)."""
    with tempfile.TemporaryDirectory() as folder:
        files = ((item.data, item.name.partition("/")[0]) for item in digits())
        data = pictures(Path(folder) / "data", files)
        run, last = Run(seed=seed, device=DEVICE), {}
        started = time.perf_counter()
        for metrics in family.train(params, data, run):
            last = metrics or last
        seconds = time.perf_counter() - started
        # by way of the folder, as a generation would get it
        made = Path(folder) / "model"
        made.mkdir()
        family.save(run.result, made)
        return family.load(made, DEVICE), seconds, last


@torch.inference_mode()
def samples(family: Any, model: Any, label: str) -> np.ndarray:
    """(SAMPLES, 64): what the PNGs say, in the digits' own scale of 0 to 16."""
    params = family.GenerateParams(count=SAMPLES, class_label=label)
    sampler = family.Sampler(model, params)
    waiting = [Item(params, derive_seed(label, n), n, SAMPLES) for n in range(SAMPLES)]
    made: list[bytes] = []
    while len(made) < SAMPLES:
        while waiting and sampler.room():
            sampler.admit(waiting.pop())
        made += [finished.data for finished in sampler.step()]
    rows = [np.asarray(Image.open(io.BytesIO(png)), np.float64).ravel() for png in made]
    return np.stack(rows) / 255 * 16


def judged(drawn: dict[str, np.ndarray]) -> int:
    real, classes = load_digits(return_X_y=True)
    train, held = train_test_split(
        np.arange(len(real)), test_size=0.1, stratify=classes, random_state=0
    )
    judge = SVC().fit(real[train], classes[train])
    print(f"the judge knows {judge.score(real[held], classes[held]):.1%} of unseen real digits")
    print("class  recognised  diversity")
    shares, diversities = [], []
    for label, rows in drawn.items():
        shares.append((judge.predict(rows) == int(label)).mean())
        diversities.append(spread(rows) / spread(real[classes == int(label)]))
        print(f"{label:>5}  {shares[-1]:10.1%}  {diversities[-1]:9.2f}")
    print(f"least  {min(shares):10.1%}  {min(diversities):9.2f}")
    print(f" mean  {np.mean(shares):10.1%}  {np.mean(diversities):9.2f}")
    print("bar met" if min(shares) >= BAR else f"below the bar of {BAR:.0%}")
    return 0 if min(shares) >= BAR else 1


def spread(rows: np.ndarray) -> float:
    """Mean distance between two different rows."""
    distances = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(-1))
    return float(distances.sum() / (len(rows) * (len(rows) - 1)))


def said(metrics: dict) -> str:
    return ", ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())


if __name__ == "__main__":
    raise SystemExit(main())
