"""Validation loss of transformer_lm on a text file: characters, first 90 % to learn from, last 10 % held out.

nanoGPT's figure for this size (0.8 M parameters, 12 x 64 tokens a step, 2,000 steps) on tiny Shakespeare is 1.88 nats a
character. The time is that of the steps, without validation.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from tests.device import DEVICE

STEPS = 2000


def learnt(family: Any, params: Any, text: str, seed: int) -> float:
    """Trains bare and prints the losses; the last one."""
    from worker.data.texts import Texts
    from worker.run import Run

    run = Run(seed=seed, device=DEVICE)
    seconds, losses = 0.0, []
    began, step = time.perf_counter(), 0
    for metrics in family.train(params, Texts.from_text(text), run):
        now = time.perf_counter()
        # a yield that does not end a step belongs to a validation
        if run.step > step and not (metrics and "validation_loss" in metrics):
            seconds += now - began
            step = run.step
        if metrics and "validation_loss" in metrics:
            losses.append((run.step, float(metrics["validation_loss"])))
        began = now
    count = sum(parameter.numel() for parameter in run.result.parameters())
    print(f"{count:,} parameters")
    for at, loss in losses:
        print(f"  step {at}: {loss:.4f} nats a character")
    print(f"{seconds:.0f} s of steps, {step / seconds:.1f} steps/s")
    return losses[-1][1]


def text_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main() -> None:
    arguments = text_arguments().parse_args()
    import torch

    from worker.families import transformer_lm as family

    torch.set_num_threads(arguments.threads)
    params = family.TrainParams(
        tokenizer="characters", batch_size=12, block_size=64, steps=STEPS, validate_every=500
    )
    learnt(family, params, arguments.text.read_text(), arguments.seed)
