"""The fixture that starts runners and ends them with the test."""

from __future__ import annotations

import pytest

from tests.worker.runner_harness import RunnerHarness


@pytest.fixture
def start_runner(tmp_path):
    """start_runner(["sleep_steps"], checkpoint_seconds=1) -> RunnerHarness"""
    started: list[RunnerHarness] = []

    def start(families, **settings):
        folder = tmp_path / f"runner{len(started)}"
        started.append(RunnerHarness(folder, list(families), **settings))
        return started[-1]

    yield start
    for runner in started:
        runner.close()
