"""What the families that learn to write have in common: their tokens, how an empty prompt begins, the optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from worker.nn.tokens import Tokens, byte_pairs, characters


def make_tokens(params: Any, data: Any, split: Any) -> Tokens:
    if params.tokenizer == "bpe":
        return byte_pairs(split.train.documents, params.vocab_size)
    return characters(data.documents)  # also those that only the held-out part has


def first_token(tokens: Tokens, training: np.ndarray, documents: int) -> int:
    """What an empty prompt begins with: END where the model saw it often enough to know it."""
    if documents >= 8:
        return tokens.end
    newline = tokens.encode("\n")[-1]
    return int(newline if newline in training else np.bincount(training).argmax())


def make_optimizer(model: nn.Module, params: Any) -> torch.optim.AdamW:
    """AdamW; only matrices decay."""
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.dim() > 1], "weight_decay": params.weight_decay},
        {"params": [w for w in weights if w.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=params.learning_rate, betas=(0.9, params.beta2), fused=True)
