"""Generations of 16 users at once against the same one by one: how much faster, and whether the bytes are the same.

`python -m tests.bench batching`: vae requests are 4, then 16 pictures of 32 x 32, transformer_lm requests are 200
characters. Rounds of both ways take turns; throughput is by the median round. Bars: 3 times for pictures, 6 times for
texts. One by one the device waits for each user's next request; so the same is told against a second installation
that takes one item at a time (ATELIER_GENERATION_ITEMS=1) and is asked by all 16 at once, too: what batching gives.
Small pictures are painted by eight whoever asked for them (worker/nn/picture_sampler.py): what many users gain over
one is the platform's part: the more pictures a request asks for, the less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tests.bench.verdicts import at_least, verdict
from tests.installation import Installation

USERS = 16
PICTURES = {"steps": 60, "batch_size": 32, "image_size": 32, "base_channels": 8}
TEXTS = {"steps": 60, "batch_size": 8, "block_size": 128, "n_layer": 4, "n_head": 4, "n_embd": 128}
REQUESTS = (
    ("vae", {"count": 4}, 3.0),
    ("vae", {"count": 16}, 3.0),
    ("transformer_lm", {"prompt": "The ", "max_new_tokens": 200, "temperature": 0.8}, 6.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with Installation() as batching, Installation(generation_items="1") as single:
        sides = [prepared(one) for one in (batching, single)]
        for family, params, bar in REQUESTS:
            measure(sides, family, params, bar, arguments.rounds)


def prepared(atelier):
    """Its users, and the models that they share."""
    users = [atelier.user(f"user{n}") for n in range(USERS)]
    atelier.families(users[0], "vae", "transformer_lm")
    return users, {
        "vae": model(users[0], "vae", "digits", PICTURES),
        "transformer_lm": model(users[0], "transformer_lm", "python-docs", TEXTS),
    }


def model(client, family: str, sample: str, params) -> str:
    """Trained by the first user, shared with the others."""
    dataset = client.datasets.wait(client.datasets.add(sample=sample)["id"])
    job = client.jobs.submit("train", params, family=family, dataset_id=dataset["id"], seed=1)
    job = client.jobs.wait(job["id"])
    assert job["state"] == "succeeded", job
    found = job["result"]["model_id"]
    client._connection.ask("PATCH", f"/models/{found}", json={"visibility": "shared"})
    return found


def measure(sides, family: str, params, bar: float, rounds: int) -> None:
    print(f"{family}: {USERS} requests of {params}")
    (users, models), (single_users, single_models) = sides
    ways = {
        "one by one": (one_by_one, users, models[family]),
        "one item": (at_once, single_users, single_models[family]),
        "at once": (at_once, users, models[family]),
    }
    for go, who, model_id in ways.values():
        go(who, model_id, params)  # the model is loaded, the sampler made
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    made: list[list[tuple[str, ...]]] = []
    for _ in range(rounds):
        for way, (go, who, model_id) in ways.items():
            started = time.perf_counter()
            jobs = go(who, model_id, params)
            seconds[way].append(time.perf_counter() - started)
            made.append([hashes(job) for job in jobs])
    for way, each in seconds.items():
        median = statistics.median(each)
        said = " ".join(f"{one:.2f}" for one in each)
        print(f"  {way:10} {median:6.2f} s, {USERS / median:6.1f} requests/s  ({said})")
    quick = statistics.median(seconds["at once"])
    at_least("throughput of one by one", statistics.median(seconds["one by one"]) / quick, bar, "x")
    print(
        f"  {statistics.median(seconds['one item']) / quick:.1f} times that of one item at a time"
    )
    verdict("rounds with other bytes", sum(one != made[0] for one in made), 0, "")


def request(client, number: int, model_id: str, params):
    job = client.jobs.submit("generate", params, model_id=model_id, seed=number)
    job = client.jobs.wait(job["id"])
    assert job["state"] == "succeeded", job
    return job


def one_by_one(users, model_id: str, params):
    return [request(client, n, model_id, params) for n, client in enumerate(users)]


def at_once(users, model_id: str, params):
    ready = Barrier(len(users))

    def go(numbered):
        number, client = numbered
        ready.wait()
        return request(client, number, model_id, params)

    with ThreadPoolExecutor(len(users)) as pool:
        return list(pool.map(go, enumerate(users)))


def hashes(job) -> tuple[str, ...]:
    return tuple(artifact["sha256"] for artifact in job["result"]["artifacts"])
