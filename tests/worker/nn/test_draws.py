"""Draws: functions of (seed, position), evenly spread, the same on every machine."""

from __future__ import annotations

import numpy as np
import torch

from worker.nn.draws import choose, normals, uniforms


def test_a_draw_does_not_depend_on_its_neighbours():
    seeds, positions = [1, 2**63 + 5, 3], [10, 11, 12]
    together = uniforms(seeds, positions)
    alone = [uniforms([s], [p])[0] for s, p in zip(seeds, positions, strict=True)]
    assert together.tolist() == alone


def test_draws_are_the_same_on_every_machine():
    assert uniforms([1, 1, 2], [0, 1, 0]).tolist() == [
        0.8242198252979851,
        0.6443670509385635,
        0.8304632507842626,
    ]


def test_draws_are_uniform_and_do_not_follow_seed_or_position():
    grid = uniforms(np.arange(400)[:, None], np.arange(500)[None])
    assert 0 <= grid.min() and grid.max() < 1
    assert len(np.unique(grid)) == grid.size
    counts, _ = np.histogram(grid, bins=50)
    assert ((counts - 4000) ** 2 / 4000).sum() < 100  # chi square, 49 degrees of freedom
    for a, b in ((grid[:, 1:], grid[:, :-1]), (grid[1:], grid[:-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.01


def test_normals_are_normal_and_differ_by_position():
    first, second = normals(7, (200, 100)), normals(7, (200, 100), position=1)
    assert abs(first.mean()) < 0.02 and abs(first.std() - 1) < 0.02
    assert abs((first * second).mean()) < 0.02
    assert torch.equal(first, normals(7, (200, 100)))


def test_choose_follows_the_weights_and_never_takes_what_has_none():
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0]]).expand(4000, 5)
    chosen = choose(weights, uniforms(5, np.arange(4000)))
    assert set(chosen.tolist()) == {1, 3}
    assert abs((chosen == 3).float().mean() - 0.75) < 0.03


def test_choose_survives_the_ends_of_the_interval():
    weights = torch.rand(1000, 97, dtype=torch.float64) + 0.1
    assert (choose(weights, np.zeros(1000)) == 0).all()
    assert (choose(weights, np.full(1000, 1 - 2.0**-52)) == 96).all()
