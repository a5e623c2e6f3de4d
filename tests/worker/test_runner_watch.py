"""The runner's keeper: restarts with a wait, finds the deaf, and kills before a lease ends."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from tests.servers import wait_until
from worker import endings, link
from worker.held import MOST_TEXTS, Held, Pending
from worker.runner_watch import FIRST_SECONDS, RESTART_SECONDS, LeaseGuard, RunnerWatch


def test_the_guard_kills_before_the_lease_ends():
    killed = []
    guard = LeaseGuard(0.3, lambda: killed.append(time.monotonic()))
    began = time.monotonic()
    guard.hold_from(began)
    wait_until(lambda: killed, 5, "the kill")
    assert killed[0] - began >= 0.19


def test_a_renewed_lease_is_not_killed():
    killed = []
    guard = LeaseGuard(60, lambda: killed.append(1))
    guard.hold_from(time.monotonic() - 49)
    guard.hold_from(time.monotonic())
    guard.release()
    assert not killed


@pytest.fixture
def watch(make_settings, tmp_path):
    """A watch whose runner is never started; kills are written down."""
    made = RunnerWatch(make_settings(deaf_seconds=10), tmp_path, lambda _: None)
    made.kills = []
    made.runner = SimpleNamespace(kill=made.kills.append, send=lambda _: None)
    made.hello = object()
    made._started = made._last_heard = 99.9
    return made


def test_a_silent_runner_with_work_is_deaf_after_a_while(watch):
    watch.heard(100.0, working=True)
    watch.find_deaf(109.0, working=True, first=False)
    assert not watch.kills
    watch.find_deaf(111.0, working=True, first=False)
    assert watch.kills == ["deaf"]


def test_a_silent_runner_without_work_is_not_deaf(watch):
    watch.heard(100.0, working=True)
    watch.find_deaf(500.0, working=False, first=False)
    watch.find_deaf(505.0, working=True, first=False)
    assert not watch.kills


def test_a_first_step_may_take_longer(watch):
    watch.heard(100.0, working=False)
    watch.find_deaf(100.0 + FIRST_SECONDS - 1, working=True, first=True)
    assert not watch.kills
    watch.find_deaf(101.0 + FIRST_SECONDS, working=True, first=True)
    assert watch.kills


def test_long_steps_are_given_twenty_times_their_length(watch):
    for n in range(5):
        watch.heard(100.0 + 2 * n, working=True)
    watch.find_deaf(108.0 + 39, working=True, first=False)
    assert not watch.kills
    watch.find_deaf(108.0 + 41, working=True, first=False)
    assert watch.kills


def test_a_runner_that_keeps_dying_is_started_less_and_less_often(watch):
    waits = []
    for _ in range(6):
        watch.died(100.0)
        waits.append(watch._next_start - 100.0)
    assert waits == [*RESTART_SECONDS, RESTART_SECONDS[-1], RESTART_SECONDS[-1]]


def some(key="a.1", heard=True, ending=""):
    job = SimpleNamespace(kind="train", params={})
    lease = SimpleNamespace(job_id=key[0], fence=int(key[2]))
    return Held(job, lease, None, heard=heard, ending=ending)


def died(suspects=(), killed_for="", status=-9, oom=False):
    runner = SimpleNamespace(killed_for=killed_for)
    return SimpleNamespace(runner=runner, suspects=suspects, status=status, out_of_memory=oom)


def test_suspects_are_those_that_were_stepped():
    a, b = some("a.1"), some("b.1")
    assert endings.suspects([a, b], died(("b.1",))) == [b]


def test_without_a_note_the_newcomers_are_suspects_and_then_everybody():
    a, b = some("a.1"), some("b.1", heard=False)
    assert endings.suspects([a, b], died()) == [b]
    b.heard = True
    assert endings.suspects([a, b], died()) == [a, b]


@pytest.mark.parametrize("why", ["cancel", "lease", "drain", "stop", "lost"])
def test_nobody_is_blamed_for_a_kill_of_ours(why):
    assert endings.suspects([some()], died(("a.1",), killed_for=why)) == []


@pytest.mark.parametrize("code", ["busy", "family_missing", "storage_full"])
def test_what_the_worker_lacks_is_no_strike(code, monkeypatch):
    calls = []
    monkeypatch.setattr(endings.jobs, "give_back", lambda *a, **k: calls.append((a[2], k)))
    message = link.Failed(job="a.1", code=code, message="", permanent=False)
    held = some()
    endings.failed(held, message, 5.0)(None, held)
    [(why, more)] = calls
    assert why == code and more["delay_seconds"] > 0


def test_a_death_is_explained():
    assert endings.explain(died(status=-11)) == (
        "runner_crashed",
        "The runner crashed (SIGSEGV).",
    )
    assert endings.explain(died())[0] == "runner_killed"
    assert endings.explain(died(oom=True))[0] == "oom"
    assert endings.explain(died(killed_for="deaf"))[0] == "runner_deaf"
    assert endings.explain(died(status=3))[0] == "runner_ended"


def test_a_report_that_could_not_be_written_goes_before_what_came_since():
    pending = Pending()
    pending.add(link.Progress(job="a.1", step=1, total=9))
    pending.add(link.Log(job="a.1", text="one\n"))
    pending.add(link.Metrics(job="a.1", points=[(1, 0.1, {"loss": 2.0})]))
    pending.add(link.Text(job="a.1", index=0, text="to"))
    report = pending.take()
    assert pending.take() is None
    pending.add(link.Log(job="a.1", text="two\n"))
    pending.add(link.Metrics(job="a.1", points=[(2, 0.2, {"loss": 1.0})]))
    pending.add(link.Text(job="a.1", index=0, text="to be"))
    pending.put_back(report)
    again = pending.take()
    assert again.log == "one\ntwo\n" and again.step == 1
    assert [point[0] for point in again.points] == [1, 2]
    assert again.events == [("preview", {"index": 0, "text": "to be"})]


def test_a_flood_of_texts_is_bounded():
    pending = Pending()
    for index in range(10_000):
        pending.add(link.Text(job="a.1", index=index, text="x"))
    assert len(pending.take().events) == MOST_TEXTS
