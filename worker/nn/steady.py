"""Inference whose rows do not depend on their neighbours: the same bits alone and in any batch.

On a CPU a plain matrix product picks its kernel by the number of rows, so a row's last bits change with its neighbours.
oneDNN's packed product adds up in the same order for any number of rows from two on (measured: 0 of all
outputs differ for 2 to 256 rows, and it is faster from about 32 rows; plain: 85 % differ).
Where this does not hold, on other processors or a GPU, keep the shapes fixed: `agree` finds out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

FEWEST_ROWS = 2  # a single row goes through another kernel
# Weights of a model whose steps one core makes as fast as several: threads wait for each other at every layer, and
# where another process takes a core for a moment they wait for that, too. Measured with 16 rows on two cores and
# 0.8 million weights: 1.6 ms a step on one thread; on two 1.4 ms, and 6.6 ms beside one busy process.
SMALL = 4_000_000


class PackedLinear(nn.Module):
    """nn.Linear for inference on a CPU, its weight laid out for oneDNN. Give it at least FEWEST_ROWS rows."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def steady(module: nn.Module) -> nn.Module:
    """A copy for inference that shares the weights, with steady linear layers where the device has them."""
    if isinstance(module, nn.Linear) and _can_pack(module.weight):
        return PackedLinear(module)
    twin = copy.copy(module)
    twin.training = False
    twin._modules = {
        name: None if child is None else steady(child) for name, child in module._modules.items()
    }
    return twin


def _can_pack(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def is_small(model: nn.Module) -> bool:
    """Whether its steps are better made by one thread; by the model alone, so that company changes nothing."""
    weights = list(model.parameters())
    on_cpu = all(weight.device.type == "cpu" for weight in weights)
    return on_cpu and sum(weight.numel() for weight in weights) <= SMALL


@contextmanager
def one_thread(really: bool = True) -> Iterator[None]:
    """What is inside runs on one thread."""
    before = torch.get_num_threads()
    if not really or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def agree(forward: Callable[[Sequence[int]], Tensor], rows: int) -> bool:
    """Whether `forward(indices)`, one output for each index, gives each row the same bits in any company."""
    together = forward(range(rows))
    backwards = list(reversed(range(rows)))
    companies = [[0], [rows - 1], backwards, backwards[::2], backwards[:3]]
    return all(torch.equal(forward(company), together[company]) for company in companies)
