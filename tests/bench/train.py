"""Training through the platform against the same loop called bare in one process.

Steps per second from step 200 to the end, checkpoints on, previews and validation off on both sides; pairs in which
the two take turns to go first, medians. Bar: 0.95 of the bare loop. The platform's times are those the runner wrote
beside its metrics (seconds of the loop's own clock). `--steady` gives the bare loop the platform's deterministic
kernels: what is missing then is not theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shared.config import bare_environment
from tests.bench.verdicts import at_least
from tests.device import DEVICE
from tests.installation import ROOT, running

FROM_STEP = 200
THREADS = {"GOMP_SPINCOUNT": "2000"}  # as worker/runner_process.py sets it
PARAMS = {
    "tokenizer": "characters",
    "batch_size": 12,
    "block_size": 64,
    "validation_fraction": 0.0,  # no validation, so no offers and no previews
}


def bare(text: Path, steps: int, threads: int, steady: bool) -> float:
    """The family's loop in a fresh process: nothing of the platform but Run."""
    steadily = f"from worker.device import Device; Device({DEVICE!r}, {threads}).use(strict=True)"
    code = f"""
import json, sys, time, torch
torch.set_num_threads({threads})
{steadily if steady else ""}
from pathlib import Path
from worker.data.texts import Texts
from worker.families import transformer_lm as family
from worker.run import Run
params = family.TrainParams(**json.loads(sys.argv[1]))
for _ in family.train(params, Texts.from_text(Path(sys.argv[2]).read_text()), run := Run(seed=1, device="{DEVICE}")):
    if run.step in ({FROM_STEP}, {steps}) and "{DEVICE}".startswith("cuda"):
        torch.cuda.synchronize()  # a step is over when the device says so
    if run.step == {FROM_STEP}:
        started = time.perf_counter()
    if run.step == {steps}:
        print((run.step - {FROM_STEP}) / (time.perf_counter() - started))
"""
    arguments = [json.dumps({**PARAMS, "steps": steps}), str(text)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        # the runner's own thread setting: the peer shall not be the slower for it
        env={**os.environ, **THREADS, **(bare_environment() if steady else {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def through_the_platform(client, dataset_id: str, steps: int) -> float:
    job = client.jobs.submit(
        "train",
        {**PARAMS, "steps": steps},
        family="transformer_lm",
        dataset_id=dataset_id,
        seed=1,
    )
    job = client.jobs.wait(job["id"])
    assert job["state"] == "succeeded", job
    points = [
        (step, seconds)
        for event in client.jobs.events(job["id"])
        if event["type"] == "metrics"
        for step, seconds, _ in event["data"]["points"]
    ]
    first = min(point for point in points if point[0] >= FROM_STEP)
    last = max(points)
    return (last[0] - first[0]) / (last[1] - first[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steady", action="store_true")
    arguments = parser.parse_args()
    with running(threads=str(arguments.threads), checkpoint_seconds="10") as (atelier, client):
        atelier.families(client, "transformer_lm")
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "text.txt"
            text.write_text(arguments.text.read_text())
            dataset = client.datasets.wait(client.datasets.add([text], name="text")["id"])
        pairs = []
        for number in range(arguments.pairs):
            sides = {
                "platform": lambda: through_the_platform(client, dataset["id"], arguments.steps),
                "bare": lambda: bare(
                    arguments.text, arguments.steps, arguments.threads, arguments.steady
                ),
            }
            found = {}
            for side in sorted(sides, reverse=number % 2 == 0):
                found[side] = sides[side]()
                time.sleep(1)
            platform, alone = found["platform"], found["bare"]
            pairs.append((platform, alone))
            print(f"{number}: {platform:.1f} steps/s, bare {alone:.1f}, {platform / alone:.3f}")
    ratios = [platform / alone for platform, alone in pairs]
    at_least("of the bare loop's steps, median", statistics.median(ratios), 0.95, "")
