"""Random changes of picture batches."""

from __future__ import annotations

import pytest
import torch

from worker.nn.augment import augmented


def ramp(batch=32, side=16):
    """Each pixel says where it stands: row * side + column."""
    return torch.arange(side * side).float().view(1, 1, side, side).expand(batch, 2, -1, -1)


def test_none_gives_the_pictures_back():
    x = ramp()
    assert augmented(x, "none") is x


def test_flip_mirrors_some_left_to_right():
    torch.manual_seed(0)
    x = ramp()
    flipped = augmented(x, "flip")
    mirrored = [torch.equal(one, other.flip(-1)) for one, other in zip(flipped, x, strict=True)]
    same = [torch.equal(one, other) for one, other in zip(flipped, x, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert any(mirrored) and any(same)


def test_shift_moves_each_picture_as_a_whole_by_at_most_an_eighth():
    torch.manual_seed(0)
    x = ramp(side=16)
    moves = set()
    for one, other in zip(augmented(x, "shift"), x, strict=True):
        # in the middle, where no edge is repeated, every pixel moved by the same way
        way = (one - other)[:, 2:-2, 2:-2]
        assert way.min() == way.max()
        rows = round(float(way[0, 0, 0]) / 16)
        moves.add((rows, int(way[0, 0, 0]) - 16 * rows))
    assert {abs(part) for move in moves for part in move} == {0, 1, 2}


@pytest.mark.parametrize("kind", ["flip", "shift"])
def test_the_global_generator_decides(kind):
    x = ramp()
    torch.manual_seed(1)
    first = augmented(x, kind)
    torch.manual_seed(1)
    assert torch.equal(first, augmented(x, kind))
    assert not torch.equal(first, augmented(x, kind))


def test_colours_move_together():
    torch.manual_seed(0)
    x = ramp()
    shifted = augmented(x, "shift")
    assert torch.equal(shifted[:, 0], shifted[:, 1])
