"""Named lines where a fault test may do harm: FAILPOINT=name:action[:nth], ';' between several.

An action is kill9, stop, raise, hang or sleepSECONDS. Costs one dictionary look-up where nothing is set. `nth` counts
from 1, over the process and its forks together, and fires once; without it, every time.
"""

from __future__ import annotations

import mmap
import signal
import threading
import time

from shared.config import failpoint_setting

SIGNALS = {"kill9": signal.SIGKILL, "stop": signal.SIGSTOP}


class FailpointHit(Exception):
    """A fault test asked for this."""


def _parse(text: str) -> dict[str, tuple[str, int]]:
    armed = {}
    for entry in filter(None, text.split(";")):
        name, action, *nth = entry.split(":")
        armed[name] = (action, int(nth[0]) if nth else 0)
    return armed


_armed = _parse(failpoint_setting())
_places = {name: place for place, name in enumerate(_armed)}
# shared with forks: who replaces a child must not hit the same line again
_hits = mmap.mmap(-1, max(1, len(_armed)))


def failpoint(name: str) -> None:
    if name not in _armed:
        return
    action, nth = _armed[name]
    place = _places[name]
    _hits[place] = min(_hits[place] + 1, 255)
    if nth and _hits[place] != nth:
        return
    if action in SIGNALS:
        # to this very thread: a stop that another one takes comes some lines later
        signal.pthread_kill(threading.get_ident(), SIGNALS[action])
    elif action == "raise":
        raise FailpointHit(name)
    elif action == "hang":
        time.sleep(3600)
    elif action.startswith("sleep"):
        time.sleep(float(action.removeprefix("sleep") or 1))
