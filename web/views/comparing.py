"""Two results beside each other: which words differ, which parameters differ; and texts that are still being made."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Any

from flask_babel import lazy_gettext as _l

from shared.models import User
from web.security import studio
from web.services import jobs

MODES = {"slider": _l("Slider"), "beside": _l("Side by side"), "difference": _l("Difference")}
# words, runs of space, each other character alone: Chinese and Japanese are compared by character
PARTS = re.compile(r"[A-Za-z0-9\u00c0-\u024f\u0370-\u052f_'’]+|\s+|.", re.DOTALL)
MOST = 6000  # characters of each: more would keep a reader waiting
MOST_EVENTS = 100

Marked = list[tuple[bool, str]]


def marked(first: str, second: str) -> tuple[Marked, Marked]:
    """Both texts in pieces: (is it different?, words)."""
    left, right = PARTS.findall(first[:MOST]), PARTS.findall(second[:MOST])
    one: Marked = []
    two: Marked = []
    for kind, a, b, c, d in SequenceMatcher(None, left, right).get_opcodes():
        if a < b:
            one.append((kind != "equal", "".join(left[a:b])))
        if c < d:
            two.append((kind != "equal", "".join(right[c:d])))
    return one, two


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Any, Any, bool]]:
    """(name, value of the first, of the second, do they differ?) of all that decides a result."""

    def facts(one: dict[str, Any]) -> dict[str, Any]:
        return {"family": one["family"], "seed": one["seed"], **one["params"]}

    left, right = facts(first), facts(second)
    rows = [(name, left.get(name), right.get(name)) for name in {**left, **right}]
    rows = [row for row in rows if row[1] not in ("", None) or row[2] not in ("", None)]
    return sorted(((*row, row[1] != row[2]) for row in rows), key=lambda row: not row[3])


def texts_so_far(user: User, job: dict[str, Any]) -> list[str]:
    """What a running generation has written, sample by sample."""
    if job["state"] != "running":
        return []
    found = jobs.latest_events(studio(), user, job["id"], ("preview",), MOST_EVENTS)
    texts: dict[int, str] = {}
    for event in found:
        if isinstance(text := event["data"].get("text"), str):
            texts[int(event["data"].get("index", 0))] = text
    return [texts[index] for index in sorted(texts)]
