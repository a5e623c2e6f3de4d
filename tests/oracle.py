"""What must hold after every fault, as an assertion: called at the end of each fault test."""

from __future__ import annotations

from contextlib import nullcontext

from worker.chaos import files, oracle


def check(work, valkey=None) -> None:
    """Jobs, results, files, events and keys are all as they must be."""
    with valkey.client() if valkey else nullcontext() as client:
        found = oracle.problems(work.settings, work.db, work.storage, client)
    assert not found, found


def check_files(work) -> None:
    """Every row has its file with the right hash, and every file its row once a sweep has gone over them."""
    found = files.problems(work.settings, work.db, work.storage)
    assert not found, found
