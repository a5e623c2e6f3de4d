"""What two adversarial networks play for: losses of the judge and of the generator, and penalties on the judge's slope.

Names of a loss: "relativistic" (Jolicoeur-Martineau 2018), "non_saturating" (Goodfellow et al. 2014), "wasserstein"
(Arjovsky et al. 2017). Scores are (B,), high for what looks real.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def judge_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    if kind == "relativistic":
        return F.softplus(fake - real).mean()
    if kind == "non_saturating":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    return fake.mean() - real.mean()


def generator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    if kind == "relativistic":
        return F.softplus(real - fake).mean()
    return F.softplus(-fake).mean() if kind == "non_saturating" else -fake.mean()


def slopes(scores: Tensor, pictures: Tensor) -> Tensor:
    """(B,): squared norm of each score's gradient; their mean at real pictures is R1, at drawn ones R2."""
    (gradient,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def gradient_penalty(judge: Any, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """How far the slope in between is from 1 (WGAN-GP, Gulrajani et al. 2017)."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(real, fake, share).requires_grad_()
    # without the small number the root has no gradient at 0
    return ((slopes(judge(between, labels), between) + 1e-12).sqrt() - 1).square().mean()


def add_up(sums, measured, share):
    """Adds a part's measurements, by its share of the batch."""
    sums |= {name: sums.get(name, 0.0) + share * m.detach() for name, m in measured.items()}
