"""Stands in for the checking process: does what the upload's first line says, to see what the parent makes of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from shared.packs import PackWriter
from worker.checking.confine import confine
from worker.checking.protocol import CURRENT, OUR_DISK_IS_FULL, REPORT


def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"


def look_around(request, work):
    """What is within reach once the sandbox is closed."""
    uploads = Path(request["uploads"])
    held = confine(uploads=uploads, work=work, file_bytes=1 << 20)
    outside = uploads.parent.parent / "secret_key"
    seen = {
        "environment": sorted(os.environ),
        "sandbox": held,
        "secret": attempt(outside.read_text),
        "passwords": attempt(Path("/etc/shadow").read_text),
        "write": attempt(lambda: (uploads / "0").write_text("x")),
        "fork": attempt(os.fork),
        "socket": attempt(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
        "large": attempt(lambda: (work / "large").write_bytes(b"x" * (2 << 20))),
    }
    (work / "seen").write_text(json.dumps(seen))
    print(json.dumps(seen), file=sys.stderr)
    os._exit(3)


def lie(work, change):
    with PackWriter(work) as writer:
        writer.add([b"x"], name="x", media_type="text/plain", facts={"characters": 1})
        writer.finish()
    manifest = work / "manifest.jsonl"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change) + "\n")
    (work / REPORT).write_text(
        json.dumps({"problems": [], "fatal": False, "items": 1, "sandbox": {}})
    )


def main():
    request = json.load(sys.stdin)
    work = Path(request["work"])
    (work / CURRENT).write_text(request["files"][0]["name"])
    (work / "pid").write_text(str(os.getpid()))
    order = Path(request["files"][0]["path"]).read_text().strip()
    if order == "look":
        look_around(request, work)
    elif order == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif order == "quote":
        raise ValueError(f"cannot read {order}: canary text of an upload")
    elif order == "hang":
        time.sleep(3600)
    elif order == "full":
        sys.exit(OUR_DISK_IS_FULL)
    elif order == "steal":
        lie(work, {"offset": 1 << 30})
    elif order == "html":
        lie(work, {"media_type": "text/html"})


main()
