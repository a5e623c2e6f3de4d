"""Histograms as the geometry of one SVG: counts in, bars out; templates/parts/histogram.html draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from web.views.numbers import number

WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, BOTTOM = 4, 356, 20, 122
GAP = 0.14  # of a bar's place
MOST_MARKS = 6  # under the bars


@dataclass(frozen=True)
class Bar:
    """`words` says it all; `mark` stands below, where there is room."""

    x: float
    y: float
    width: float
    height: float
    middle: float
    count: str
    words: str
    mark: str


@dataclass(frozen=True)
class Histogram:
    title: str
    bars: list[Bar]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def histogram(title: str, rows: Sequence[tuple[str, int]], marks: Sequence[str] = ()) -> Histogram:
    """`rows` are (name of the bar, count); `marks` say less than the names where those are long."""
    most = max((count for _, count in rows), default=0) or 1
    place = (RIGHT - LEFT) / max(1, len(rows))
    every = -(-len(rows) // MOST_MARKS) if marks else 1
    bars = []
    for n, (name, count) in enumerate(rows):
        height = (BOTTOM - TOP) * count / most
        if count:
            height = max(height, 1.5)  # few are not none
        bars.append(
            Bar(
                x=round(LEFT + place * (n + GAP / 2), 1),
                y=round(BOTTOM - height, 1),
                width=round(place * (1 - GAP), 1),
                height=round(height, 1),
                middle=round(LEFT + place * (n + 0.5), 1),
                count=number(count) if len(rows) <= 12 else "",
                words=f"{name}: {number(count)}",
                mark=(marks[n] if marks else name) if n % every == 0 else "",
            )
        )
    return Histogram(title, bars, "; ".join(bar.words for bar in bars))
