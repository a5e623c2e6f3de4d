"""Curves of a training as the geometry of one SVG: numbers in, coordinates out; the template draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 624, 12, 228
COLOURS = 4
# Losses may begin a thousand times above where they end; a chart of the first step is no use.
MOST_ABOVE_MEDIAN = 8.0


@dataclass(frozen=True)
class Mark:
    """A tick: where, and what it says."""

    at: float
    words: str


@dataclass(frozen=True)
class Line:
    """One series, ready to draw."""

    name: str
    colour: int
    path: str
    end_x: float
    end_y: float
    last: float
    best: float


@dataclass(frozen=True)
class Chart:
    """One picture with up to four lines."""

    lines: list[Line]
    x_marks: list[Mark]
    y_marks: list[Mark]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM
    series: list[str] = field(default_factory=list)


Point = tuple[float, float]


def loss_chart(series: Mapping[str, Sequence[Sequence[Any]]]) -> Chart | None:
    """Training and validation loss over steps; None while there is nothing to draw."""
    named = [(name, _points(series[name])) for name in _losses(series)]
    drawn = [(name, points) for name, points in named if points][:COLOURS]
    if not drawn:
        return None
    everything = [point for _, points in drawn for point in points]
    last_step = max(x for x, _ in everything)
    low, high = _range([y for _, y in everything])
    x_marks, y_marks = _ticks(0, max(last_step, 1), 6), _ticks(low, high, 5)

    def place(point: Point) -> Point:
        x = LEFT + (RIGHT - LEFT) * point[0] / max(last_step, 1)
        y = BOTTOM - (BOTTOM - TOP) * (min(point[1], high) - low) / (high - low)
        return round(x, 1), round(y, 1)

    lines = [_line(name, n, points, place) for n, (name, points) in enumerate(drawn)]
    return Chart(
        lines=lines,
        x_marks=[
            Mark(place((value, low))[0], f"{value:,.0f}") for value in x_marks if _whole(value)
        ],
        y_marks=[Mark(place((0, value))[1], f"{value:.4g}") for value in y_marks],
        series=[name for name, _ in drawn],
    )


def _losses(series: Iterable[str]) -> list[str]:
    """The training's loss first, then validation; without a loss, whatever there is."""
    names = list(series)
    losses = [name for name in names if "loss" in name]
    return sorted(losses or names, key=lambda name: ("val" in name, name != "loss", name))


def _points(rows: Sequence[Sequence[Any]]) -> list[Point]:
    found = [(float(row[0]), float(row[2])) for row in rows if isinstance(row[2], (int, float))]
    return [(x, y) for x, y in found if math.isfinite(y)]


def _range(values: list[float]) -> Point:
    low, high = min(values), max(values)
    middle = sorted(values)[len(values) // 2]
    if low >= 0 and middle > 0 and high > middle * MOST_ABOVE_MEDIAN:
        high = middle * MOST_ABOVE_MEDIAN
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    return low - (high - low) * 0.04, high + (high - low) * 0.04


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between the ends: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step)
    return [round(n * step, 12) for n in range(first, math.floor(high / step) + 1)]


def _whole(value: float) -> bool:
    return value == int(value)


def _line(name: str, colour: int, points: list[Point], place: Any) -> Line:
    placed = [place(point) for point in points]
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in placed) if len(placed) > 1 else ""
    values = [y for _, y in points]
    end_x, end_y = placed[-1]
    return Line(name, colour, path, end_x, end_y, values[-1], min(values))
