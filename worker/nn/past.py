"""What an attending model remembers of the tokens it has read: keys and values in rows that texts share in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

CHUNK = 64  # memory is read and written in whole chunks: sums then add up in one order


def whole_chunks(tokens: int) -> int:
    return -(-tokens // CHUNK) * CHUNK


class Cache:
    """Keys and values [layers, rows, heads, length, head size], allocated once."""

    def __init__(self, model: Any, rows: int) -> None:
        shape, weight = model.shape, model.embed.weight
        self.rows, self.length = rows, whole_chunks(shape.block_size)
        size = (shape.n_layer, rows, shape.n_head, self.length, shape.head_size)
        # zeros: what is masked out has weight 0, and 0 times a stray NaN would be NaN
        self.keys = torch.zeros(size, dtype=weight.dtype, device=weight.device)
        self.values = torch.zeros_like(self.keys)

    @staticmethod
    def reach(model: Any) -> int:
        """How many tokens it may look back on."""
        return int(model.shape.block_size)

    @staticmethod
    def row_bytes(model: Any) -> int:
        shape = model.shape
        return int(8 * shape.n_layer * shape.n_embd * whole_chunks(shape.block_size))

    @staticmethod
    def chunk(_model: Any) -> int:
        """How many tokens of a prompt are read in a step."""
        return CHUNK

    def copy_row(self, row: int, source: Cache, source_row: int) -> None:
        self.keys[:, row] = source.keys[:, source_row]
        self.values[:, row] = source.values[:, source_row]

    def past(self, starts: Sequence[int], lengths: Sequence[int], tokens: int, fixed: bool) -> Past:
        """For a pass over `tokens` new tokens of each row; what is past a row's length is read in vain."""
        span = self.length if fixed or tokens > 1 else whole_chunks(max(starts) + 1)
        return Past(self, torch.tensor(starts, device=self.keys.device), tokens, span)


class Past:
    """One forward pass over the leading rows of a cache: T new tokens from `starts` on, after what is there."""

    def __init__(self, cache: Cache, starts: Tensor, tokens: int, span: int) -> None:
        """starts (B,); `span` positions, a multiple of CHUNK, are looked at."""
        self.cache, self.span = cache, span
        self.row = torch.arange(len(starts), device=starts.device)[:, None]  # (B, 1)
        self.positions = starts[:, None] + torch.arange(tokens, device=starts.device)  # (B, T)
        seen = torch.arange(span, device=starts.device) <= self.positions[:, :, None]
        self.mask = torch.zeros(seen.shape, device=starts.device).masked_fill(~seen, -torch.inf)
        self.mask = self.mask[:, None]  # (B, 1, T, span)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # (B, H, T, D)
        """Plain products: torch's fused attention gives a row other bits in other company."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys[self.row, :, self.positions] = k.transpose(1, 2)
        values[self.row, :, self.positions] = v.transpose(1, 2)
        rows = len(q)
        scores = (q * q.shape[-1] ** -0.5) @ keys[:rows, :, : self.span].transpose(-1, -2)
        return (scores + self.mask).softmax(-1) @ values[:rows, :, : self.span]
