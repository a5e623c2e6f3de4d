"""Each part is tried in a process of its own that has shut itself in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.worker.runner_harness import ROOT

ATTEMPTS = """
import json, os, socket, subprocess, sys, threading
from pathlib import Path
from worker import sandbox
own, secret = Path(sys.argv[1]), Path(sys.argv[2])
shared = f"/dev/shm/atelier-sandbox-{os.getpid()}"
parts = sandbox.enter(writable=[own], readable=[], cuda=False)

def tried(work):
    try:
        work()
    except OSError:
        return "refused"
    return "allowed"

def in_a_thread():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()

print(json.dumps(parts | {
    "write own": tried(lambda: (own / "x").write_text("x")),
    "read secret": tried(secret.read_text),
    "write secret": tried(lambda: secret.write_text("x")),
    "write null": tried(lambda: Path("/dev/null").write_text("x")),
    "read random": tried(lambda: open("/dev/urandom", "rb").read(1)),
    "list shared memory": tried(lambda: os.listdir("/dev/shm")),
    "write shared memory": tried(lambda: open(shared, "x").close() or os.remove(shared)),
    "score": open("/proc/self/oom_score_adj").read().strip(),
    "read parent": tried(lambda: open(f"/proc/{os.getppid()}/environ").read()),
    "signal parent": tried(lambda: os.kill(os.getppid(), 0)),
    "socket": tried(socket.socket),
    "unix socket": tried(lambda: socket.socket(socket.AF_UNIX)),
    "program": tried(lambda: subprocess.run(["/bin/true"])),
    "fork": tried(os.fork),
    "thread": tried(in_a_thread),
}))
"""
NEEDS = {
    "read secret": "landlock",
    "write secret": "landlock",
    "list shared memory": "landlock",
    "write shared memory": "landlock",
    "read parent": "landlock",
    "signal parent": "landlock",
    "socket": "seccomp",
    "unix socket": "seccomp",
    "program": "seccomp",
    "fork": "seccomp",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "own").mkdir()
    (folder / "secret").write_text("secret")
    command = [sys.executable, "-c", textwrap.dedent(ATTEMPTS), folder / "own", folder / "secret"]
    result = json.loads(subprocess.check_output(command, cwd=ROOT, env=dict(os.environ)))
    assert (folder / "secret").read_text() == "secret"
    return result


@pytest.mark.parametrize("attempt", list(NEEDS))
def test_what_a_runner_may_not_do_is_refused(found, attempt):
    if found[NEEDS[attempt]] != "on":
        pytest.skip(f"{NEEDS[attempt]} is {found[NEEDS[attempt]]}")
    assert found[attempt] == "refused"


def test_what_it_needs_is_allowed(found):
    assert found["write own"] == "allowed"
    assert found["thread"] == "allowed"
    assert found["write null"] == found["read random"] == "allowed"


def test_where_memory_runs_out_it_is_the_first_to_die(found):
    if found["first_to_die"] != "on":
        pytest.skip(f"it is {found['first_to_die']}")
    assert found["score"] == "800"


def test_every_part_says_whether_it_holds(found):
    for part in (
        "first_to_die",
        "landlock",
        "seccomp",
        "network_namespace",
        "capabilities",
        "no_new_privileges",
    ):
        assert found[part] == "on" or found[part].startswith("off: ")
