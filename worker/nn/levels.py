"""The levels of a convolutional network: how large its pictures are at each, and how wide it is."""

from __future__ import annotations


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes from full resolution down to at most 4 x 4; each is half the one before, rounded up."""
    sizes = [(height, width)]
    while max(sizes[-1]) > 4:
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def level_widths(base: int, sizes: list[tuple[int, int]]) -> list[int]:
    """Channels of each level: twice as many as above, at most four times the base."""
    return [base * min(2**level, 4) for level in range(len(sizes))]
