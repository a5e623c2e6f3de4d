"""Learning-rate schedules as plain functions of the step: nothing to keep, nothing to restore."""

from __future__ import annotations

import math


def warm_cosine(step: int, steps: int, warmup: int, floor: float) -> float:
    """The rate's factor at `step` (from 1): up in a line to 1, then down along a cosine to `floor`."""
    if step <= warmup:
        return step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * (0.5 + 0.5 * math.cos(math.pi * done))
