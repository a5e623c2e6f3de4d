"""Takes everything away from the checking process that it does not need, before it looks at a single byte."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from worker import sandbox

MEMORY_BYTES = 2 << 30
CPU_SECONDS = 1800
OPEN_FILES = 64


def confine(*, uploads: Path, work: Path, file_bytes: int) -> dict[str, str]:
    """No network, no other process, no file but these two folders, and an end to every resource.

    Says of each part of the sandbox whether it holds: containers forbid some of them.
    """
    held = sandbox.enter(writable=[work], readable=[uploads], cuda=False)
    for limit, value in (
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, file_bytes),
    ):
        _lower(limit, value)
    # SIGXCPU first, so that the parent can tell it from a crash
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    # Writing past RLIMIT_FSIZE becomes an OSError instead of the end.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.umask(0o077)
    return held


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (most, most))
