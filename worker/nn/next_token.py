"""The next token of many rows at once, each with settings of its own: penalty, temperature, top-k, top-p, seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.nn.draws import choose, uniforms


class NextToken:
    """Made for the rows of a batch, anew when they change. Nothing here mixes rows."""

    def __init__(self, params: Sequence[Any], seeds: Sequence[int], device: torch.device) -> None:
        def column(name: str, dtype: torch.dtype) -> Tensor:
            return torch.tensor([[getattr(p, name)] for p in params], dtype=dtype, device=device)

        self.seeds = list(seeds)
        self.penalty = column("repetition_penalty", torch.float64)
        self.temperature = column("temperature", torch.float64)
        self.top_k = column("top_k", torch.int64)
        self.top_p = column("top_p", torch.float64)
        self.penalises = any(p.repetition_penalty != 1 for p in params)
        self.most = max(p.top_k for p in params)
        self.nucleus = any(p.top_p < 1 for p in params)

    def __call__(self, logits: Tensor, used: Tensor | None, positions: Sequence[int]) -> Tensor:
        """One token a row. logits (rows, n); used (rows, n): is it in the row so far?"""
        scores = logits.double()
        if used is not None:
            scores = penalised(scores, used, self.penalty)
        best = scores.argmax(-1)
        warm = self.temperature > 0
        scores = scores / torch.where(warm, self.temperature, 1.0)
        if self.most:
            scores = keep_top_k(scores, self.top_k, self.most)
        if self.nucleus:
            scores = keep_top_p(scores, self.top_p)
        drawn = choose(scores.softmax(-1), uniforms(self.seeds, list(positions)))
        return torch.where(warm[:, 0], drawn, best)


def penalised(scores: Tensor, used: Tensor, penalty: Tensor) -> Tensor:
    """Repetition penalty (Keskar et al. 2019): what was used becomes less likely."""
    return torch.where(used, torch.where(scores > 0, scores / penalty, scores * penalty), scores)


def keep_top_k(scores: Tensor, k: Tensor, most: int) -> Tensor:
    """Only each row's k best scores; k = 0 keeps all. `most` is the greatest k."""
    best = scores.topk(min(most, scores.shape[-1])).values
    least = best.gather(-1, (k - 1).clamp(0, best.shape[-1] - 1))
    return scores.masked_fill((scores < least) & (k > 0), -torch.inf)


def keep_top_p(scores: Tensor, p: Tensor) -> Tensor:
    """Only each row's likeliest tokens that together reach p (Holtzman et al. 2019); at least one."""
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    weights = ordered.softmax(-1)
    before = weights.cumsum(-1) - weights
    # p = 1 keeps all: rounding must not cut its tail
    kept = (before < p) | (p >= 1)
    return scores.masked_fill(~torch.zeros_like(kept).scatter(-1, order, kept), -torch.inf)
