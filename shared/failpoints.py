"""Named lines where a fault test may kill, raise, hang or sleep: FAILPOINT=name:action[:nth], ';' between several.

Costs one dictionary look-up where nothing is set. `nth` counts from 1 and fires once; without it, every time.
"""

from __future__ import annotations

import os
import signal
import time

from shared.config import failpoint_setting


class FailpointHit(Exception):
    """A fault test asked for this."""


def _parse(text: str) -> dict[str, tuple[str, int]]:
    armed = {}
    for entry in filter(None, text.split(";")):
        name, action, *nth = entry.split(":")
        armed[name] = (action, int(nth[0]) if nth else 0)
    return armed


_armed = _parse(failpoint_setting())
_hits: dict[str, int] = {}


def failpoint(name: str) -> None:
    if name not in _armed:
        return
    action, nth = _armed[name]
    _hits[name] = _hits.get(name, 0) + 1
    if nth and _hits[name] != nth:
        return
    if action == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise FailpointHit(name)
    elif action == "hang":
        time.sleep(3600)
    elif action.startswith("sleep"):
        time.sleep(float(action.removeprefix("sleep") or 1))
