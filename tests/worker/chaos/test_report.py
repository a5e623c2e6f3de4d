"""The figures of a report, and the bars they are held against."""

from __future__ import annotations

from collections import Counter

from worker.chaos import report
from worker.chaos.faults import Breaker, Hit, Outages
from worker.chaos.figures import Figures
from worker.chaos.orders import Books
from worker.chaos.plan import Plan
from worker.chaos.problem import Problem


def figures(**more) -> Figures:
    made = Figures(states=Counter(succeeded=3), steps=100, steps_again=10)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_bar_that_is_missed_says_so():
    slow = figures(recovery={"kill main": [1.0] * 9 + [30.0]}, cancels={"deaf": [19.0]})
    said = {bar.name: bar.missed for bar in report.bars(slow, lease=5)}
    assert said == {
        "running again after kill -9, p95": True,
        "cancel, deaf, longest": False,
        "steps made again": False,
    }


def test_the_report_counts_faults_and_shows_each_problem():
    breaker = Breaker.__new__(Breaker)
    breaker.hits = [Hit(0.0, "flush", 0.0), Hit(1.0, "kill web", 1.0)]
    breaker.missed, breaker.outages = 4, Outages(web=[[1.0, 3.5]])
    broken = figures(problems=[Problem("lost", "job x is gone")], left=Counter(runs=2))
    lines = list(report.lines(Plan(7, 60.0), broken, Books(), breaker, 5.0))
    assert lines[0].startswith("seed 7")
    assert "faults: 2 (4 more found nothing to break)" in lines
    assert "jobs: 0 accepted of 0; succeeded 3" in lines
    assert "left by killed attempts, and swept: runs 2" in lines
    assert "web away: p50 2.50 s, p95 2.50 s, longest 2.50 s (1)" in lines
    assert lines[-2:] == ["1 lost, 0 doubled, 0 orphaned, 0 illegal", "  lost: job x is gone"]


def test_outages_that_overlap_a_span_are_found():
    away = Outages(redis=[[10.0, 20.0], [30.0]])
    assert away.overlap("redis", 5.0, 11.0) and away.overlap("redis", 19.0, 25.0)
    assert not away.overlap("redis", 21.0, 29.0)
    assert away.is_open("redis") and not away.is_open("web")
