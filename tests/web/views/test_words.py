"""How pages say times, numbers and states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from web.views import numbers, words


def before(**span):
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ({"seconds": 3}, "just now"),
        ({"seconds": 59}, "1 minute ago"),
        ({"minutes": 5}, "5 minutes ago"),
        ({"hours": 23, "minutes": 50}, "1 day ago"),
        ({"days": 3}, "3 days ago"),
        ({"seconds": -300}, "in 5 minutes"),
    ],
)
def test_times_are_said_as_people_say_them(span, said):
    assert f">{said}</time>" in numbers.ago(before(**span))


def test_a_long_past_time_is_said_as_its_day():
    assert ">1 Mar 2020</time>" in numbers.ago("2020-03-01T12:00:00.000Z")


@pytest.mark.parametrize("nothing", [None, "", "yesterday", {}])
def test_no_time_says_nothing(nothing):
    assert numbers.ago(nothing) == numbers.moment(nothing) == numbers.day(nothing) == ""


def test_a_time_carries_its_exact_value():
    assert 'datetime="2026-11-22T04:50:00+00:00"' in numbers.moment("2026-11-22T04:50:00.123Z")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.0002, "1 ms"),
        (0.04, "40 ms"),
        (0.4, "0.4 s"),
        (12, "12 s"),
        (61, "1 min 1 s"),
        (3_700, "1 h 1 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds, said):
    assert numbers.duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (50 << 30, "54 GB")]
)
def test_sizes_have_the_unit_that_suits(count, said):
    assert numbers.size(count) == said


def test_almost_done_is_not_done():
    assert numbers.percent(0.9999) == "99 %"
    assert numbers.percent(1.0) == "100 %"


@pytest.mark.parametrize(
    ("n", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (22, "22nd")]
)
def test_places_are_ordinals(n, said):
    assert numbers.ordinal(n) == said


def test_a_waiting_job_says_why_it_waits():
    job = {"state": "queued", "queue": {"position": 3}}
    assert words.waiting_words(job) == "3rd in the queue"
    assert words.waiting_words({**job, "waits_for": "x"}) == "waits for another job"
    assert words.waiting_words({**job, "paused": True}) == "paused by you"
    assert words.waiting_words({"state": "queued", "queue": {"position": None}}) == "waits to start"


def test_flags_show_in_the_state():
    running = {"state": "running"}
    assert words.state_words(running) == "running"
    assert words.state_words({**running, "paused": True}) == "pausing"
    assert words.state_words({**running, "cancel_requested": True}) == "stopping"
    assert words.state_words({"state": "queued", "paused": True}) == "paused"
    assert words.state_words({"state": "failed", "paused": True}) == "failed"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"state": "queued"}, "queued"),
        ({"state": "running", "attempt": 1}, "started"),
        ({"state": "running", "attempt": 2}, "started, attempt 2"),
        ({"state": "queued", "why": "rotate"}, "back in the queue: somebody else's turn"),
        ({"state": "queued", "why": "new_reason"}, "back in the queue: new reason"),
        ({"state": "running", "cancel_requested": True}, "asked to stop"),
        ({"state": "queued", "paused": False}, "resumed"),
    ],
)
def test_changes_of_state_are_said_in_words(data, said):
    assert words.event_words({"type": "state", "data": data}) == said


def test_an_unknown_error_says_its_own_message():
    assert words.error_words({"code": "new_code", "message": "It broke."}) == "It broke."
    assert words.error_words({"code": "new_code", "message": ""}) == "It failed."


def test_values_are_said_plainly_and_not_without_end():
    assert words.plainly([1, None, True]) == "1, not set, yes"
    assert len(words.plainly("x" * 100_000)) < 3000


def test_browsers_are_told_apart():
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36"
    assert words.browser_words(chrome) == "Chrome on Linux"
    assert words.browser_words("") == "unknown"
    assert words.browser_words("curl/8.1") == "curl/8.1"
