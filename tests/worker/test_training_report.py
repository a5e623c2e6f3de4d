"""What a training says of itself stays a small amount, however long it takes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from worker import link
from worker.previews import PREVIEW_SECONDS, Previews
from worker.training_report import TrainingReport

HOUR = 3600


@pytest.fixture
def clock(monkeypatch):
    """The time, as both modules see it; set it by clock.now."""
    made = SimpleNamespace(now=0.0)
    for module in ("training_report", "previews"):
        fake = SimpleNamespace(monotonic=lambda: made.now)
        monkeypatch.setattr(f"worker.{module}.time", fake)
    return made


def test_reports_come_each_second_and_get_rarer_in_a_long_training(clock):
    told = []
    report = TrainingReport(SimpleNamespace(tell=told.append), "a.1", 0.0)
    run = SimpleNamespace(step=0, total=10_000_000)
    seen = {}
    for second in range(24 * HOUR):
        clock.now = float(second)
        run.step += 10
        report.note(run, {"loss": 1.0})
        seen[second] = len(told)
    assert seen[60] >= 100  # two messages a second
    rounds = sum(isinstance(message, link.Progress) for message in told)
    assert rounds < 12_000


def test_previews_get_rarer_in_a_long_training(clock):
    def wait_after(seconds: float) -> float:
        report = SimpleNamespace(seconds=lambda: seconds)
        run = SimpleNamespace(best=object(), lent=False)
        module = SimpleNamespace(FAMILY=SimpleNamespace(previews=({},)))
        training = SimpleNamespace(job="a.1", report=report, run=run, module=module)
        station = SimpleNamespace(
            stepping=SimpleNamespace(note=lambda _: b""),
            configure=SimpleNamespace(previews=True),
        )
        previews = Previews(station, training)
        previews._model = None
        previews._stop()
        return previews._due - clock.now

    assert wait_after(60) == PREVIEW_SECONDS
    assert wait_after(24 * HOUR) > 1000


@pytest.mark.parametrize(
    ("resumed_step", "draining", "waited", "draws"),
    [(0, False, 0, True), (9, False, 0, False), (0, True, 0, False), (0, False, 60, False)],
)
def test_the_last_round_ends_no_training(clock, resumed_step, draining, waited, draws):
    """Not on a second try of the end, not when others want the device, and not for long."""
    run = SimpleNamespace(best=object(), best_step=9, step=9, lent=False)
    training = SimpleNamespace(
        job="a.1",
        run=run,
        module=SimpleNamespace(FAMILY=SimpleNamespace(previews=({},))),
        exhausted=True,
        draining=draining,
        resumed_step=resumed_step,
    )
    station = SimpleNamespace(
        stepping=SimpleNamespace(note=lambda _: b""), configure=SimpleNamespace(previews=True)
    )
    previews = Previews(station, training)
    assert previews.has_work == (resumed_step == 0 and not draining)
    clock.now += waited
    assert previews.has_work == draws
