"""Trains as sleep_steps does, and takes a minute to draw a preview: for what comes in between. Without torch."""

from __future__ import annotations

from dataclasses import replace

from worker.chaos.families.sleep_steps import FAMILY as SLEEPER
from worker.chaos.families.sleep_steps import Sampler, describe, load, save, train

__all__ = ["FAMILY", "Sampler", "describe", "load", "save", "train"]

FAMILY = replace(
    SLEEPER,
    name="slow_previews",
    title="Slow previews",
    previews=({"count": 1, "steps": 1000, "step_seconds": 0.05},),
)
