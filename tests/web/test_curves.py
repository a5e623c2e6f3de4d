"""Learning curves: thinned without losing a spike, joined over attempts and over trainings that go on."""

from __future__ import annotations

import random

import pytest

from shared.models import Job, MetricPoint
from web.services import curves
from web.services.curves import Curve, thinned


def points_of(values):
    return [[step, step / 10, value] for step, value in enumerate(values, start=1)]


@pytest.mark.parametrize("most", [2, 3, 4, 5, 50, 499, 500])
def test_first_last_and_extremes_of_each_stretch_stay(most):
    rng = random.Random(most)
    points = points_of([rng.gauss(0, 1) for _ in range(7000)])
    kept = thinned(points, most)
    assert len(kept) <= most
    assert kept == sorted(kept) and all(point in points for point in kept)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    if most >= 4:
        width = 7001 / ((most - 2) // 2)
        for n in range((most - 2) // 2):
            stretch = [p for p in points if int(p[0] / width) == n]
            assert min(stretch, key=lambda p: p[2]) in kept
            assert max(stretch, key=lambda p: p[2]) in kept


def test_few_points_stay_as_they_are_with_what_is_no_number():
    points = points_of([1.0, None, 3.0])
    assert thinned(points, 3) == points
    assert thinned([], 5) == []


def test_what_is_held_grows_with_what_is_asked_for_and_not_with_the_training():
    curve = Curve(100, 200_000)
    for step in range(200_000, 0, -1):
        curve.add([step, 0.0, float(step % 977)])
    held = len(curve._few) + len(curve._lowest) + len(curve._highest)
    assert held <= 101 + 100
    assert len(curve.points()) <= 100


def add_points(studio, job_id, *rows):
    with studio.db.writing() as session:
        for n, points in enumerate(rows, start=100):
            first, last = points[0][0], points[-1][0]
            session.add(
                MetricPoint(
                    job_id=job_id, n=n, first_step=first, last_step=last, points=points, at=0.0
                )
            )


def loss(*pairs):
    return [[step, float(step), {"loss": value}] for step, value in pairs]


def test_an_attempt_that_makes_steps_again_replaces_them(alice, work, studio):
    job = work.training(alice)["id"]
    add_points(
        studio, job, loss((1, 9.0), (2, 8.0), (3, 7.0)), loss((2, 5.0), (3, 4.0)), loss((4, 3.0))
    )
    series = alice.get(f"/jobs/{job}/metrics").json["series"]
    assert [(step, value) for step, _, value in series["loss"]] == [
        (1, 9.0),
        (2, 5.0),
        (3, 4.0),
        (4, 3.0),
    ]


def test_a_spike_in_any_row_of_a_long_training_is_shown(alice, work, studio, monkeypatch):
    job = work.training(alice)["id"]
    rows = [loss(*((10 * n + k, 1.0) for k in range(1, 11))) for n in range(3000)]
    rows[1234][7][2]["loss"] = 99.0
    rows[2001][0][2]["loss"] = -9.0
    add_points(studio, job, *rows)
    series = alice.get(f"/jobs/{job}/metrics?max_points=50").json["series"]["loss"]
    assert len(series) <= 50
    assert (series[0][0], series[-1][0]) == (1, 30_000)
    assert {99.0, -9.0} <= {value for _, _, value in series}


def test_a_training_that_goes_on_begins_with_the_curves_of_those_before_it(
    alice, bob, work, studio
):
    first, second, third = (work.training(alice)["id"] for _ in range(3))
    with studio.db.writing() as session:
        session.get(Job, second).continues, session.get(Job, second).continues_step = first, 2
        session.get(Job, third).continues, session.get(Job, third).continues_step = second, 4
    add_points(studio, first, loss((1, 1.0), (2, 2.0), (3, 3.0)))
    add_points(studio, second, loss((3, 30.0), (4, 40.0), (5, 50.0)))
    add_points(studio, third, loss((5, 500.0)))
    series = alice.get(f"/jobs/{third}/metrics").json["series"]["loss"]
    assert [value for _, _, value in series] == [1.0, 2.0, 30.0, 40.0, 500.0]
    assert bob.get(f"/jobs/{third}/metrics").status_code == 404
    assert alice.delete(f"/jobs/{first}?force=1").status_code == 204
    series = alice.get(f"/jobs/{third}/metrics").json["series"]["loss"]
    assert [value for _, _, value in series] == [30.0, 40.0, 500.0]


def test_the_numbers_near_a_checkpoint_are_the_newest_up_to_it(alice, work, studio):
    job = work.training(alice)["id"]
    row = [
        [4, 0.1, {"loss": 2.0, "validation": 7.0}],
        [5, 0.2, {"loss": 1.5}],
        [6, 0.3, {"loss": 1}],
    ]
    add_points(studio, job, row)
    with studio.db.reading() as session:
        assert curves.values_at(session, job, 5) == {"loss": 1.5, "validation": 7.0}
