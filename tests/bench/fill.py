"""What benches need before they begin."""

from __future__ import annotations


def a_model(client):
    """A finished model of the torch-free test family."""
    dataset = client.datasets.wait(client.datasets.add(sample="python-docs")["id"])
    job = client.jobs.submit(
        "train",
        {"steps": 3, "step_seconds": 0.01},
        family="sleep_steps",
        dataset_id=dataset["id"],
    )
    job = client.jobs.wait(job["id"])
    assert job["state"] == "succeeded", job
    return client.models.get(job["result"]["model_id"])
