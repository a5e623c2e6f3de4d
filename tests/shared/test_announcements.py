"""A broken or hostile announcement never reaches web."""

from __future__ import annotations

from copy import deepcopy

import pytest

from shared.announcements import problems_of
from tests.web.conftest import ANNOUNCEMENT


def changed(path, value):
    announcement = deepcopy(ANNOUNCEMENT)
    *parts, last = path
    place = announcement
    for part in parts:
        place = place[part]
    place[last] = value
    return announcement


def test_a_sound_announcement_has_no_problems():
    assert problems_of(ANNOUNCEMENT) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["name"], "../x"),
        (["name"], "x" * 65),
        (["version"], "1"),
        (["version"], True),
        (["version"], 2**40),
        (["title"], None),
        (["accepts"], [["channels == 1"]]),
        (["accepts"], [["channels ==", "no arithmetic"]]),
        (["actions"], []),
        (["actions", "train"], {}),
        (["actions", "train", "schema"], {"type": 7}),
        (["actions", "train", "schema"], {"properties": {"steps": True}}),
        (["actions", "train", "rules"], [["width > 0", "width"]]),
        (["actions", "train", "rules"], [["__import__('os')", "width", "no"]]),
        (["actions", "train", "cost"], {"flops": 7}),
        (["actions", "train", "cost"], {"flops": "open('/etc/passwd')"}),
        (["actions", "train", "cost"], {"flops": "(" * 300 + "1" + ")" * 300}),
        (["actions", "train", "cost"], {"flops": "1" * 5000}),
        (["batch_by"], [1]),
    ],
)
def test_nonsense_is_named(path, value):
    assert problems_of(changed(path, value))


@pytest.mark.parametrize("announcement", [None, [], {}, "vae", {"name": "vae"}])
def test_what_is_no_announcement_is_refused(announcement):
    assert problems_of(announcement)
