"""The way between two codes of a normal prior."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def blend(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Along the great circle (slerp), of (1, Z) each: codes in between stay as likely as the ends."""
    angle = torch.acos(F.cosine_similarity(a, b).clamp(-1, 1))
    if angle < 1e-3 or angle > math.pi - 1e-3:
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
