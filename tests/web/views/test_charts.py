"""Curves: numbers in, coordinates of one picture out."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from web.views.charts import BOTTOM, LEFT, RIGHT, TOP, loss_chart


def series(values):
    return [[step, step / 10, value] for step, value in enumerate(values, 1)]


def inside(chart):
    for line in chart.lines:
        numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", line.path)]
        assert all(LEFT - 1 <= x <= RIGHT + 1 for x in numbers[::2])
        assert all(TOP - 1 <= y <= BOTTOM + 1 for y in numbers[1::2])
    return True


def test_nothing_measured_draws_nothing():
    assert loss_chart({}) is None
    assert loss_chart({"loss": []}) is None
    assert loss_chart({"loss": series([None, float("nan")])}) is None


def test_training_comes_before_validation_and_other_figures_are_left_out():
    chart = loss_chart(
        {"kl": series([1]), "validation_loss": series([2, 1]), "loss": series([3, 2])}
    )
    assert [line.name for line in chart.lines] == ["loss", "validation_loss"]
    assert (chart.lines[0].last, chart.lines[0].best) == (2, 2)
    assert inside(chart)


def test_without_a_loss_whatever_there_is_is_drawn():
    assert [line.name for line in loss_chart({"reward": series([1, 2])}).lines] == ["reward"]


def test_one_point_is_a_dot():
    (line,) = loss_chart({"loss": series([1.5])}).lines
    assert line.path == ""
    assert LEFT <= line.end_x <= RIGHT


def test_a_wild_first_step_does_not_flatten_the_rest():
    chart = loss_chart({"loss": series([1e6] + [2 - n / 100 for n in range(100)])})
    assert inside(chart)
    assert float(chart.y_marks[-1].words) < 20


def test_ticks_are_round_numbers():
    chart = loss_chart({"loss": series([3 - n / 500 for n in range(1000)])})
    assert [mark.words for mark in chart.x_marks] == ["0", "200", "400", "600", "800", "1,000"]


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40))
def test_any_numbers_stay_inside_the_picture(values):
    chart = loss_chart({"loss": series(values)})
    assert inside(chart)
    assert len(chart.y_marks) <= 12
