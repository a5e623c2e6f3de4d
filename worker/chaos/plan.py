"""What a soak does and when, drawn from its seed before it begins: the same seed is the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

JOBS_A_MINUTE = 36
FAULTS_A_MINUTE = 27
USERS = 3
REAL_SHARE = 0.08  # of all jobs; real families cost real processor time
STEP_SECONDS = 0.02
# Of the jobs that nobody cancels. The queue must be short, or what is measured after a fault is the queue.
TRAININGS = 0.33
# The last of it is for what was broken: nothing new comes, and faults end a little earlier still.
SUBMITTING, BREAKING = 0.95, 0.98

# family: its parameters for a training of some seconds on one core, and those of a generation
REAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lstm": (
        {"steps": 60, "batch_size": 8, "block_size": 16, "hidden_size": 32},
        {"prompt": "The ", "max_new_tokens": 20},
    ),
    "transformer_lm": (
        {"steps": 60, "batch_size": 4, "block_size": 16, "n_layer": 1, "n_head": 2, "n_embd": 32},
        {"prompt": "The ", "max_new_tokens": 12},
    ),
    "vae": ({"steps": 40, "batch_size": 16, "base_channels": 8, "latent_dim": 4}, {"count": 2}),
    "gan": ({"steps": 30, "batch_size": 16, "base_channels": 8, "latent_dim": 4}, {"count": 2}),
    "tiny": ({"steps": 60}, {"count": 2, "length": 4}),
}
PICTURES = {"vae", "gan"}
TEST_FAMILIES = ("sleep_steps", "deaf")

# How often each kind of fault comes beside the others.
FAULTS = {
    "kill web": 2,
    "kill main": 2,
    "kill child": 2,
    "kill runner": 3,
    "kill cpu": 2,
    "kill redis": 2,
    "stop web": 1,
    "stop main": 1,
    "stop child": 1,
    "stop runner": 1,
    "stop cpu": 1,
    "stop redis": 2,
    "drain": 2,
    "flush": 2,
}
# A Redis of somebody else can be emptied and its connections cut, but not killed.
NOT_OURS = {"kill redis", "stop redis"}

# How the test family's jobs are meant to end, in parts of a thousand.
CANCELS = {"queued": 40, "running": 50, "deaf": 20, "dead owner": 25}
COPIES = 0.15  # of the submits come twice or thrice with one key


@dataclass(frozen=True)
class Order:
    """One job to be submitted, and what is to be done to it."""

    number: int
    at: float
    user: int
    kind: str
    family: str
    params: dict[str, Any]
    seed: int
    copies: int = 1  # submits with the same key at once
    cancel: str = ""  # one of CANCELS
    after: int | None = None  # the number of the training it waits for


@dataclass(frozen=True)
class Fault:
    """One thing to break. `draw` chooses among the processes that are there at that moment."""

    at: float
    kind: str
    draw: float
    seconds: float = 0.0  # how long a stopped process stays stopped


@dataclass(frozen=True)
class Plan:
    seed: int
    seconds: float
    orders: list[Order] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    families: tuple[str, ...] = TEST_FAMILIES


def make(seed: int, seconds: float, *, lease: float, real: bool, own_redis: bool) -> Plan:
    """`real` brings in the families that train real models; `own_redis` says that it may be killed."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    orders = _orders(draw, seconds, real)
    faults = _faults(draw, seconds, lease, own_redis)
    families = (*TEST_FAMILIES, *REAL) if real else TEST_FAMILIES
    return Plan(seed, seconds, orders, faults, families)


def _orders(draw: random.Random, seconds: float, real: bool) -> list[Order]:
    count = max(1, round(JOBS_A_MINUTE * seconds / 60))
    each = max(1, int(count * REAL_SHARE) // len(REAL)) if real else 0
    orders: list[Order] = []
    for family in REAL:
        orders += _real_orders(draw, family, each, len(orders), SUBMITTING * seconds)
    while len(orders) < count:
        orders.append(_test_order(draw, len(orders), SUBMITTING * seconds))
    return sorted(orders, key=lambda order: order.at)


def _real_orders(
    draw: random.Random, family: str, count: int, first: int, seconds: float
) -> list[Order]:
    """Trainings, and generations that wait for the training before them, as people chain them."""
    training, generation = REAL[family]
    orders: list[Order] = []
    for n in range(count):
        chained = n % 2 == 1
        number = first + n
        if chained:
            before = orders[-1]
            at, after, user = before.at + 0.5, before.number, before.user
        else:
            at, after, user = draw.uniform(0, 0.8 * seconds), None, draw.randrange(USERS)
        kind, params = ("generate", generation) if chained else ("train", training)
        orders.append(Order(number, at, user, kind, family, params, draw.randrange(9), after=after))
    return orders


def _test_order(draw: random.Random, number: int, seconds: float) -> Order:
    at, user, seed = draw.uniform(0, seconds), draw.randrange(USERS), draw.randrange(3)
    copies = draw.choice((2, 3)) if draw.random() < COPIES else 1
    cancel = _cancel(draw)
    kind, family = "train", "sleep_steps"
    params: dict[str, Any] = {"mark": f"step {number}"}
    if cancel == "deaf":
        family, params = "deaf", {"steps": 100, "at": 5, "seconds": 30.0}
    elif cancel:
        # long enough to be cancelled, short enough not to stand in the way of others for long
        params |= {"steps": 800, "step_seconds": STEP_SECONDS}
    elif draw.random() < TRAININGS:
        # few lengths and few seeds, so that many must come to the very same model
        params |= {"steps": draw.choice((50, 100, 150, 200)), "step_seconds": STEP_SECONDS}
    else:
        kind = "generate"
        params = {"count": draw.randint(1, 4), "steps": draw.randint(5, 50)}
        params["step_seconds"] = STEP_SECONDS
    return Order(number, at, user, kind, family, params, seed, copies, cancel)


def _cancel(draw: random.Random) -> str:
    place = draw.randrange(1000)
    for kind, parts in CANCELS.items():
        if place < parts:
            return kind
        place -= parts
    return ""


def _faults(draw: random.Random, seconds: float, lease: float, own_redis: bool) -> list[Fault]:
    weights = {k: w for k, w in FAULTS.items() if own_redis or k not in NOT_OURS}
    count = max(1, round(FAULTS_A_MINUTE * seconds / 60))
    kinds = draw.choices(list(weights), list(weights.values()), k=count)
    every = BREAKING * seconds / count
    # a stopped worker sometimes wakes within its lease and sometimes as a zombie
    return [
        Fault((n + draw.random()) * every, kind, draw.random(), draw.uniform(0.5, 2 * lease))
        for n, kind in enumerate(kinds)
    ]
