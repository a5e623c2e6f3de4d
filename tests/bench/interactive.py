"""A generation submitted during a training: when its result comes, and whether the weights stay what they were."""

from __future__ import annotations

import argparse
import time

from tests.installation import running

TRAINING = {"steps": 600, "batch_size": 12, "block_size": 64, "validate_every": 200}
FINAL = ("succeeded", "failed", "cancelled")


def train(client, dataset_id: str, steps: int):
    params = {**TRAINING, "steps": steps}
    return client.jobs.submit(
        "train", params, family="transformer_lm", dataset_id=dataset_id, seed=5
    )


def wait_for_step(client, job_id: str, step: int) -> None:
    while (job := client.jobs.get(job_id))["progress"]["step"] < step:
        assert job["state"] not in FINAL, job
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=8)
    arguments = parser.parse_args()
    with running(checkpoint_seconds="2") as (atelier, client):
        atelier.families(client, "transformer_lm")
        dataset = client.datasets.wait(client.datasets.add(sample="python-docs")["id"])
        first = client.jobs.wait(train(client, dataset["id"], TRAINING["steps"])["id"])
        model = client.models.get(first["result"]["model_id"])
        disturbed = train(client, dataset["id"], TRAINING["steps"])
        wait_for_step(client, disturbed["id"], 20)
        delays = []
        for number in range(arguments.requests):
            started = time.monotonic()
            job = client.jobs.submit(
                "generate",
                {"prompt": "The ", "max_new_tokens": 40},
                model_id=model["id"],
                seed=number,
            )
            client.jobs.wait(job["id"])
            delays.append(time.monotonic() - started)
            assert client.jobs.get(disturbed["id"])["state"] == "running"
        disturbed = client.jobs.wait(disturbed["id"])
        other = client.models.get(disturbed["result"]["model_id"])
        print("seconds to the whole result:", [round(delay, 2) for delay in delays])
        print("weights:", "identical" if other["sha256"] == model["sha256"] else "DIFFERENT")
