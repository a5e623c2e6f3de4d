"""How well durations are predicted before a job runs: a mixed run of small jobs, each alone, on an empty history.

`python -m tests.bench estimates`: trainings and generations of transformer_lm and vae, sizes drawn at random. The
prediction is the row's estimate, the duration is from start to end. Bar: after 20 jobs 80 % within a factor of 1.5.
"""

from __future__ import annotations

import argparse
import math
import random
from datetime import datetime

from tests.bench.verdicts import at_least
from tests.installation import running

FACTOR = 1.5
BAR = 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--history", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    ratios = []
    with running() as (atelier, client):
        atelier.families(client, "vae", "transformer_lm")
        data = {
            name: client.datasets.wait(client.datasets.add(sample=sample)["id"])["id"]
            for name, sample in (("vae", "digits"), ("transformer_lm", "python-docs"))
        }
        models: dict[str, list[str]] = {"vae": [], "transformer_lm": []}
        print("  n  job                          predicted   actual   device  ratio  basis")
        for number in range(arguments.jobs):
            kind, family, params = asked(dice, number, models)
            fields = {"family": family, "dataset_id": data[family]} if kind == "train" else {}
            if kind == "generate":
                fields = {"model_id": dice.choice(models[family])}
            basis = client.jobs.estimate(kind, params, **fields)["estimate"]["basis"]
            job = client.jobs.submit(kind, params, seed=number, **fields)
            job = client.jobs.wait(job["id"])
            assert job["state"] == "succeeded", job
            if kind == "train":
                models[family].append(job["result"]["model_id"])
            actual = seconds_of(job)
            ratios.append(job["estimate_seconds"] / actual)
            print(
                f"{number + 1:3}  {kind:8} {family:14}     {job['estimate_seconds']:8.2f} {actual:8.2f}"
                f" {job['device_seconds']:8.2f} {ratios[-1]:6.2f}  {basis}",
                flush=True,
            )
    print(f"first {arguments.history}: {within(ratios[: arguments.history]):.0%} within {FACTOR}")
    after = within(ratios[arguments.history :])
    at_least(f"after {arguments.history}: within a factor of {FACTOR}", 100 * after, BAR, "%")


def asked(dice: random.Random, number: int, models) -> tuple[str, str, dict]:
    family = ("vae", "transformer_lm")[number % 2]
    if not models[family] or dice.random() < 0.4:
        return "train", family, TRAININGS[family](dice)
    return "generate", family, GENERATIONS[family](dice)


def small_vae(dice: random.Random) -> dict:
    return {
        "steps": dice.randint(20, 250),
        "batch_size": dice.choice([16, 32, 64]),
        "base_channels": dice.choice([8, 16, 32]),
        "validate_every": 100,
    }


def small_transformer(dice: random.Random) -> dict:
    return {
        "steps": dice.randint(20, 250),
        "batch_size": dice.choice([4, 8, 16]),
        "block_size": dice.choice([32, 64]),
        "n_layer": dice.choice([2, 4]),
        "n_head": 2,
        "n_embd": dice.choice([32, 64, 128]),
        "validate_every": 200,
    }


TRAININGS = {"vae": small_vae, "transformer_lm": small_transformer}
GENERATIONS = {
    "vae": lambda dice: {"count": dice.randint(1, 256)},
    "transformer_lm": lambda dice: {
        "prompt": "The ",
        "max_new_tokens": dice.randint(20, 1000),
        "count": dice.choice([1, 2, 4, 16]),
    },
}


def seconds_of(job) -> float:
    started, finished = (
        datetime.fromisoformat(job[f"{name}_at"]) for name in ("started", "finished")
    )
    return max(1e-3, (finished - started).total_seconds())


def within(ratios: list[float]) -> float:
    return sum(abs(math.log(ratio)) <= math.log(FACTOR) for ratio in ratios) / max(1, len(ratios))
