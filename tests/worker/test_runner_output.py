"""What a runner prints: its log goes on, a family's words do not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from worker.runner_output import RunnerOutput

RUNNER = """
import logging, sys
from shared.log import set_up_logging
set_up_logging("INFO")
logging.getLogger("worker.runner").info("ready")
print("a secret prompt on stdout")
print('{"at": "a secret prompt as JSON"}', flush=True)
print('{"at":' * 20_000 + '1, "a secret prompt": ' + "[" * 20_000, flush=True)
sys.stderr.write("a secret prompt " + "x" * 100_000)
logging.getLogger("worker.runner").warning("odd\\nline")
def sample(prompt):
    raise ValueError(f"cannot say {prompt}")
sample("a secret prompt")
"""


@pytest.fixture
def said(caplog, capfd):
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = RunnerOutput(runner.pid, runner.stdout)
    output.end(runner.wait())
    return caplog.text, capfd.readouterr().err


def test_the_log_of_a_runner_goes_on_line_by_line(said):
    lines = [json.loads(line) for line in said[1].splitlines()]
    assert [line["message"] for line in lines] == ["ready"]


def test_what_a_family_prints_stays_here(said):
    assert "prompt" not in "".join(said)
    assert said[0].count("prints; that is not shown") == 1


def test_the_place_where_it_died_is_logged(said):
    assert 'File "<string>", line 12, in sample\nValueError' in said[0]
