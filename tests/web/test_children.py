"""A child of `atelier up` is kept alive, stopped in time, and takes everything it started along."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.servers import wait_until
from web import children
from web.children import Child

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"

SOON = 10  # nobody here ends by himself before


@pytest.fixture
def make_child():
    made = []

    def make(code: str = "import time; time.sleep(3600)") -> Child:
        child = Child("sleeper", [sys.executable, "-c", code], dict(os.environ))
        made.append(child)
        return child

    yield make
    for child in made:
        child.wait_until_stopped(0, lambda: True)


def never() -> bool:
    return False


def test_it_lives_in_a_session_of_its_own(make_child):
    child = make_child()
    child.start()
    assert os.getsid(child.process.pid) == child.process.pid


def test_it_starts_again_after_a_wait_that_doubles(make_child, monkeypatch, caplog):
    monkeypatch.setattr(children, "FIRST_WAIT", 0.01)
    child = make_child("raise SystemExit(3)")
    child._wait = 0.01
    waits = []

    def died_thrice() -> bool:
        child.tend()
        waits.append(child._wait)
        return child.deaths >= 3

    with caplog.at_level(logging.ERROR):
        wait_until(died_thrice)
    assert sorted(set(waits)) == [0.01, 0.02, 0.04, 0.08]
    assert "sleeper ended with 3" in caplog.text


def test_the_wait_has_an_end(make_child):
    child = make_child("raise SystemExit(3)")
    child._wait = children.LONGEST_WAIT
    child.start()
    wait_until(lambda: child.tend() and child.deaths)
    assert child._wait == children.LONGEST_WAIT
    assert child.tend() <= children.LONGEST_WAIT


def test_it_stops_when_asked(make_child):
    child = make_child()
    child.start()
    child.ask_to_stop()
    child.wait_until_stopped(time.monotonic() + 20, never)
    assert child.process is None


def test_what_ignores_the_signal_is_killed(make_child):
    child = make_child(STUBBORN)
    child.start()
    pid = child.process.pid
    child.ask_to_stop()
    child.wait_until_stopped(time.monotonic(), never)
    assert not psutil.pid_exists(pid)


def test_the_rest_of_its_group_goes_with_it(make_child):
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
        f"{STUBBORN!r}]); print(p.pid, flush=True)"
    )
    child = make_child(code)
    reading, writing = os.pipe()
    saved = os.dup(1)
    os.dup2(writing, 1)
    try:
        child.start()
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(writing)
    with os.fdopen(reading) as output:
        grandchild = int(output.readline())
    wait_until(lambda: child.tend() and child.deaths)
    wait_until(lambda: not psutil.pid_exists(grandchild) or is_zombie(grandchild), SOON)


def test_it_dies_with_the_process_that_started_it(tmp_path):
    code = (
        "import os, sys, time; from web.children import Child\n"
        "c = Child('x', [sys.executable, '-c', 'import time; time.sleep(3600)'], dict(os.environ))\n"
        "c.start(); print(c.process.pid, flush=True); time.sleep(3600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with parent.stdout:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not psutil.pid_exists(pid) or is_zombie(pid), SOON)


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
