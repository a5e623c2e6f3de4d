from __future__ import annotations

from worker.nn.levels import level_sizes, level_widths


def test_sizes_halve_down_to_four():
    assert level_sizes(33, 8) == [(33, 8), (17, 4), (9, 2), (5, 1), (3, 1)]
    assert level_sizes(128, 128)[-1] == (4, 4)


def test_widths_double_up_to_four_times_the_base():
    assert level_widths(8, level_sizes(128, 128)) == [8, 16, 32, 32, 32, 32]
