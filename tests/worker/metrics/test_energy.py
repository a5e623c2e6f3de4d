from __future__ import annotations

import pytest
import torch

from worker.data.images import ImagePart
from worker.metrics.energy import energy_distance, held_distance, held_groups
from worker.run import Run


def pictures(count, seed=0, height=8, width=8):
    """Dark or light, with noise."""
    generator = torch.Generator().manual_seed(seed)
    level = 0.6 * torch.randint(0, 2, (count, 1, 1, 1), generator=generator) + 0.2
    return level + 0.1 * torch.rand(count, 1, height, width, generator=generator)


def test_two_draws_of_one_kind_are_0_apart_with_no_bias():
    apart = [energy_distance(pictures(20, n), pictures(30, 100 + n)).item() for n in range(50)]
    assert min(apart) < 0 < max(apart)
    assert sum(apart) / len(apart) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("size", [(8, 8), (3, 3), (1, 9), (33, 20)])
def test_what_is_lost_makes_it_greater(size):
    real = pictures(64, 0, *size)
    fine = energy_distance(real, pictures(64, 1, *size))
    collapsed = energy_distance(real, pictures(64, 1, *size)[:1].expand(64, -1, -1, -1))
    grey = energy_distance(real, torch.full((64, 1, *size), 0.5))
    assert collapsed > fine + 0.1 and grey > fine + 0.1


def test_it_is_the_mmd_of_the_negative_distance():
    x, y = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.tensor([3.0, 5.0]).view(2, 1, 1, 1)
    # twice the mean of 3, 5, 2 and 4, less 1, less 2
    assert energy_distance(x, y) == pytest.approx(4.0)


def part(classes):
    images = (255 * pictures(len(classes) if classes else 12)).byte()
    return ImagePart(images, torch.tensor(classes) if classes else None)


@pytest.mark.parametrize(
    ("classes", "groups"),
    [
        (None, [[0] * 12]),
        ([0, 0, 1, 1, 1], [[0, 0], [1, 1, 1]]),
        ([0, 0, 1, 3], [[1, 3], [0, 0]]),  # single ones together
        ([0, 0, 1], [[0, 0]]),
        ([0, 1], [[0, 1]]),
    ],
)
def test_each_class_is_measured_apart_where_it_can_be(classes, groups):
    found = list(held_groups(part(classes)))
    assert [labels.tolist() for _, labels in found] == groups
    assert all(len(images) == len(labels) for images, labels in found)


def test_a_large_class_is_thinned():
    ((images, _),) = held_groups(part([0] * 1300))
    assert 400 < len(images) <= 512


def finished(generator):
    yields = 0
    while True:
        try:
            next(generator)
            yields += 1
            assert torch.is_grad_enabled()
        except StopIteration as end:
            return end.value, yields


def test_it_draws_the_classes_held_out_from_the_same_noise_each_time_and_lends_in_between():
    seen = []

    def draw(codes, labels):
        seen.append((codes.clone(), labels.tolist()))
        return torch.sigmoid(codes).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    held = part([0, 0, 0, 2, 2])
    torch.manual_seed(9)
    before = torch.get_rng_state()
    measured = [finished(held_distance(draw, held, 1, run)) for run in (Run(seed=1), Run(seed=1))]
    assert measured[0] == measured[1] and measured[0][1] > 1
    half = len(seen) // 2
    assert all(torch.equal(a[0], b[0]) for a, b in zip(seen[:half], seen[half:], strict=True))
    assert {label for _, labels in seen for label in labels} == {0, 2}
    Run(seed=9)
    assert torch.equal(before, torch.get_rng_state()), "another generator than its own was used"
