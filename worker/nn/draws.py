"""Seeded draws: every number is a function of (seed, position) alone, whoever else is in the batch.

Counter-based (splitmix64) and vectorised over rows; no generator, so nothing to save or to restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

MASK = 0xFFFF_FFFF_FFFF_FFFF
GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)


def uniforms(seeds: Sequence[int] | Any, positions: Sequence[int] | Any) -> np.ndarray:
    """float64 in [0, 1), one for each (seed, position); the two are broadcast against each other."""
    with np.errstate(over="ignore"):  # wrapping around is what the hash lives on
        bits = _mix(_mix(_words(seeds)) ^ _mix(_words(positions) * GOLDEN))
    # 52 bits, not 53: u * total then stays below total in float64, whatever the total
    return (bits >> np.uint64(12)).astype(np.float64) * 2.0**-52


def normals(seed: int, shape: Sequence[int], position: int = 0) -> torch.Tensor:
    """A float32 CPU tensor of standard normals: the `position`-th of this seed (Box and Muller 1958)."""
    count = int(np.prod(shape))
    pairs = (count + 1) // 2
    # the stream of a position has a seed of its own, so two positions never share a number
    stream = int(uniforms([seed], [position])[0] * 2**52) ^ (seed & MASK)
    u = uniforms(stream, np.arange(2 * pairs, dtype=np.uint64)).reshape(2, pairs)
    radius = np.sqrt(-2.0 * np.log1p(-u[0]))
    angle = 2.0 * np.pi * u[1]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
    return torch.from_numpy(both.astype(np.float32)).reshape(tuple(shape))


def choose(weights: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
    """One index for each row of weights (rows, n), in proportion to them: the inverse CDF in float64."""
    cdf = weights.double().cumsum(-1)
    aim = torch.from_numpy(draws).to(cdf.device)[:, None] * cdf[:, -1:]
    return torch.searchsorted(cdf, aim, right=True)[:, 0]


def _words(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values.astype(np.uint64)
    if isinstance(values, int):
        values = [values]
    return np.array([int(value) & MASK for value in values], dtype=np.uint64)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    x = x + GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return x ^ (x >> np.uint64(31))
