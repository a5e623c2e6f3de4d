"""What a recurrent model remembers of the tokens it has read: a state of one size, in rows that texts share in turn.

For text_sampler.py it stands where an attending model has the Cache of past.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

CHUNK = 64
CHUNK_WEIGHTS = 2**28  # weights gone through in a chunk; about a tenth of a second


class States:
    """States [layers, parts, rows, size], allocated once; an LSTM's have two parts, a GRU's one."""

    def __init__(self, model: Any, rows: int) -> None:
        layers, parts, size = model.state_shape
        weight = model.embed.weight
        self.rows = rows
        self.values = torch.zeros(
            (layers, parts, rows, size), dtype=weight.dtype, device=weight.device
        )

    @staticmethod
    def reach(_model: Any) -> int:
        """How many tokens it may look back on: no end."""
        return sys.maxsize

    @staticmethod
    def row_bytes(model: Any) -> int:
        layers, parts, size = model.state_shape
        return int(4 * layers * parts * size)

    @staticmethod
    def chunk(model: Any) -> int:
        """How many tokens of a prompt are read in a step: one after the other, so fewer of a large model."""
        layers, _, size = model.state_shape
        return max(1, min(CHUNK, CHUNK_WEIGHTS // (8 * layers * size**2)))

    def copy_row(self, row: int, source: States, source_row: int) -> None:
        self.values[:, :, row] = source.values[:, :, source_row]

    def past(
        self, starts: Sequence[int], lengths: Sequence[int], tokens: int, fixed: bool
    ) -> Reading:
        return Reading(self, starts, lengths, tokens)


class Reading:
    """One forward pass over the leading rows: of T tokens, each row reads as many as it has."""

    def __init__(
        self, states: States, starts: Sequence[int], lengths: Sequence[int], tokens: int
    ) -> None:
        device = states.values.device
        self.longest = max(lengths)
        self.states = states.values[:, :, : len(starts)]
        # zeros where a text begins: the row may hold what another text left
        if min(starts) == 0:
            goes_on = torch.tensor(starts, device=device)[:, None] > 0
            self.states.copy_(torch.where(goes_on, self.states, 0.0))
        places = torch.arange(tokens, device=device)[:, None]
        self.reads = (places < torch.tensor(lengths, device=device))[:, :, None]  # (T, B, 1)

    def state(self, layer: int) -> Tensor:  # (parts, B, size)
        return self.states[layer]

    def keep(self, layer: int, state: Tensor) -> None:
        self.states[layer] = state
