"""What only a GPU can show: `make test-gpu` runs this, and the tests of families, runner and main job on the device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from tests.device import DEVICE
from tests.installation import Installation
from tests.servers import wait_until
from tests.worker.runner_harness import ROOT
from worker.device import choose_steady_kernels

pytestmark = pytest.mark.gpu

LANGUAGE = {"steps": 1500, "batch_size": 12, "block_size": 64, "validate_every": 500}
ROWS = 8  # of a batch of `tiny`


@pytest.fixture(scope="module", autouse=True)
def device():
    assert DEVICE.startswith("cuda"), "these tests are for ATELIER_TEST_DEVICE=cuda"
    assert torch.cuda.is_available()
    return torch.device(DEVICE)


@pytest.fixture
def total_bytes(device):
    return torch.cuda.get_device_properties(device).total_memory


def test_the_runner_greets_with_the_device(start_runner, device, total_bytes):
    hello = start_runner(["tiny", "vae"]).hello
    assert hello.device.startswith("cuda") and hello.problems == []
    assert hello.facts["device_name"] == torch.cuda.get_device_name(device)
    assert hello.facts["memory_bytes"] == total_bytes
    assert hello.facts["flops_per_second"] > 1e12


def test_the_driver_works_in_the_sandbox_and_the_network_does_not(tmp_path):
    """The network is refused by its calls, whether or not it could be left as a namespace, which takes root."""
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_SANDBOX, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for part in ("no_new_privileges", "landlock", "seccomp"):
        assert f"'{part}': 'on'" in done.stdout
    assert "product 32.0" in done.stdout and "socket refused" in done.stdout


IN_THE_SANDBOX = """
import socket, sys
from pathlib import Path
import torch
from worker import sandbox
print(sandbox.enter(writable=[Path(sys.argv[1])], readable=[], cuda=True))
print("product", (torch.ones(2, 32, device="cuda") @ torch.ones(32, 2, device="cuda"))[0, 0].item())
try:
    socket.socket(socket.AF_INET)
except OSError:
    print("socket refused")
"""


def test_attention_over_long_texts_has_the_same_gradients_each_time(device):
    """Its fast kernels add in any order unless torch may refuse: `warn_only` leaves them to it."""
    choose_steady_kernels(torch, strict=True)
    try:
        torch.manual_seed(1)
        shape = (4, 8, 2048, 64)
        inputs = [torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3)]
        found = [gradients_of_attention(inputs) for _ in range(5)]
    finally:
        torch.use_deterministic_algorithms(False)
    for again in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(again, found[0], strict=True))


def gradients_of_attention(inputs):
    query, key, value = (x.clone().requires_grad_() for x in inputs)
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    out.float().square().sum().backward()
    return [query.grad, key.grad, value.grad]


def test_memory_of_the_device_that_runs_out_halves_the_batch(start_runner, total_bytes):
    """A whole batch takes twice the memory there is, half of one just as much as there is."""
    runner = start_runner(["tiny"])
    undisturbed, _ = runner.trained("small.1", "tiny", {"steps": 12})
    hungry = {"steps": 12, "megabytes_a_row": 2 * total_bytes // ROWS // 2**20}
    done, _ = runner.trained("hungry.1", "tiny", hungry)
    assert done.build["splits"] == 4
    # and what was taken has been given back: others, who may hold some of it right now, find the device as it was
    wait_until(lambda: torch.cuda.mem_get_info()[0] > total_bytes * 0.8, 120, "memory given back")
    assert undisturbed.build["splits"] == 1


def test_a_row_that_never_fits_fails_with_words_and_the_runner_goes_on(start_runner, total_bytes):
    runner = start_runner(["tiny"])
    runner.train("starving.1", "tiny", {"steps": 3, "megabytes_a_row": 2 * total_bytes // 2**20})
    failed = runner.end_of("starving.1")
    assert (failed.code, failed.permanent) == ("oom", False)
    runner.trained("next.1", "tiny", {"steps": 3})


@pytest.fixture(scope="module")
def atelier():
    with Installation(checkpoint_seconds="1") as started:
        yield started


def test_killed_in_the_middle_a_training_ends_with_the_same_weights(atelier):
    client = atelier.user("kim")
    atelier.families(client, "transformer_lm")
    dataset = client.datasets.wait(client.datasets.add(sample="python-docs")["id"])

    def train():
        return client.jobs.submit(
            "train", LANGUAGE, family="transformer_lm", dataset_id=dataset["id"], seed=5
        )

    def weights(job) -> str:
        job = client.jobs.wait(job["id"], timeout=240)
        assert job["state"] == "succeeded", (job["error"], client.jobs.log(job["id"]))
        return client.models.get(job["result"]["model_id"])["sha256"]

    alone = weights(train())
    killed = train()
    wait_until(lambda: checkpoints_of(client, killed["id"]), 60, "a checkpoint")
    (runner,) = atelier.named("runner")
    assert on_the_device(runner)
    os.kill(runner.pid, signal.SIGKILL)
    assert weights(killed) == alone
    assert client.jobs.get(killed["id"])["attempt"] == 2


def checkpoints_of(client, job_id: str) -> list[int]:
    logs = [event["data"] for event in client.jobs.events(job_id) if event["type"] == "log"]
    return [data["checkpoint"] for data in logs if "checkpoint" in data]


def on_the_device(process: psutil.Process) -> bool:
    """Whether the process has the driver's files open."""
    descriptors = Path(f"/proc/{process.pid}/fd")
    return any("nvidia" in os.readlink(one) for one in descriptors.iterdir())
