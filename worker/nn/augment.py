"""Random changes of picture batches; they draw from torch's global generator, which a training owns."""

from __future__ import annotations

import torch


def augmented(x, kind):  # (B, C, H, W), "none" | "flip" | "shift"
    if kind == "flip":
        mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
        return torch.where(mirrored, x.flip(-1), x)
    if kind == "shift":
        rows, columns = (_places(len(x), side, x.device) for side in x.shape[2:])
        # a gather along each axis; the index is as large as the picture: (B, C, H, W)
        x = x.gather(2, rows[:, None, :, None].expand_as(x))
        return x.gather(3, columns[:, None, None, :].expand_as(x))
    return x


def _places(count, side, device):  # -> (B, side): where each row or column comes from; edges repeat
    most = max(1, side // 8)
    shift = torch.randint(-most, most + 1, (count, 1), device=device)
    return (torch.arange(side, device=device) + shift).clamp(0, side - 1)
