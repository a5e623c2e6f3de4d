"""Ties a process's life to that of the process that started it, so that a killed parent leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """SIGKILL for this process as soon as the *thread* of `parent` that forked it ends.

    Called in the child; `parent` is the pid that the parent saw as its own.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above: nobody would tell us any more
        os.kill(os.getpid(), signal.SIGKILL)
