"""The state of every global random generator, as plain values and tensors; taken and given back.

A training's state is put aside while anything else runs on its device. Works without torch and numpy.
"""

from __future__ import annotations

import random
import sys
from typing import Any


def take(device: Any) -> dict[str, Any]:
    """Python's, numpy's and torch's global generators, as far as they are loaded."""
    state: dict[str, Any] = {"python": random.getstate()}
    if numpy := sys.modules.get("numpy"):
        name, keys, *rest = numpy.random.get_state()
        state["numpy"] = (name, keys.tolist(), *rest)
    if torch := sys.modules.get("torch"):
        state["torch"] = torch.get_rng_state()
        if getattr(device, "type", "") == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def give_back(state: dict[str, Any], device: Any) -> None:
    random.setstate(state["python"])
    if "numpy" in state:
        import numpy as np

        name, keys, *rest = state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    if "torch" in state:
        import torch

        torch.set_rng_state(state["torch"])
        if "cuda" in state and getattr(device, "type", "") == "cuda":
            torch.cuda.set_rng_state(state["cuda"], device)
