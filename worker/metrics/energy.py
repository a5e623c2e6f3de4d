"""How far drawn pictures are from real ones: the energy distance of their pixels, at several scales.

Székely & Rizzo 2013: 2 E|x - y| - E|x - x'| - E|y - y'|, which is MMD with the kernel -|x - y|; without a bias, so two
halves of one set are about 0 apart, a little above or below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from worker.data.images import ImagePart
    from worker.run import Run

MOST_REAL = 512  # of a class; more would cost much and say little more
MOST_DRAWN = 2048  # altogether, but 8 of each class


def energy_distance(real: Tensor, drawn: Tensor) -> Tensor:
    """Of (N, C, H, W) and (M, C, H, W) in 0..1, two pictures each at least; in grey levels of 0..1."""
    scales = []
    while True:
        scales.append(_energy(*(x.flatten(1) / x[0].numel() ** 0.5 for x in (real, drawn))))
        if min(real.shape[2:]) < 4:
            return torch.stack(scales).mean()
        real, drawn = F.avg_pool2d(real, 2), F.avg_pool2d(drawn, 2)


def _energy(x: Tensor, y: Tensor) -> Tensor:
    return 2 * torch.cdist(x, y).mean() - _mean_apart(x) - _mean_apart(y)


def _mean_apart(x: Tensor) -> Tensor:
    """Mean distance between two different rows."""
    return torch.cdist(x, x).sum() / (len(x) * (len(x) - 1))


def held_groups(part: ImagePart) -> Iterator[tuple[Tensor, Tensor]]:
    """(pictures, labels) of each class; classes of which only one is held out are measured together."""
    labels = torch.zeros(len(part), dtype=torch.int64) if part.classes is None else part.classes
    groups = torch.where(torch.bincount(labels)[labels] > 1, labels, -1)
    for group in groups.unique():
        rows = (groups == group).nonzero()[:, 0]
        rows = rows[:: math.ceil(len(rows) / MOST_REAL)]
        if len(rows) > 1:
            yield part.images[rows].float() / 255, labels[rows]


def held_distance(
    draw: Callable[[Tensor, Tensor], Tensor], part: ImagePart, code_width: int, run: Run
) -> Generator[None, None, Tensor]:
    """The distance to held-out pictures, mean over the classes; the same noise each time. Lends in between.

    `draw(codes, labels)` makes pictures in 0..1.
    """
    generator = torch.Generator().manual_seed(run.seed)
    groups, apart = list(held_groups(part)), []
    count = min(128, max(8, MOST_DRAWN // len(groups)))
    for real, labels in groups:
        wanted = labels.repeat(math.ceil(count / len(labels)))[:count].to(run.device)
        codes = torch.randn(count, code_width, generator=generator).to(run.device)
        drawn = []
        for some, classes in zip(codes.split(32), wanted.split(32), strict=True):
            with torch.no_grad():
                drawn.append(draw(some, classes))
            yield None
        apart.append(energy_distance(real.to(run.device), torch.cat(drawn)))
    return torch.stack(apart).mean()
