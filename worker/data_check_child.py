"""The process that looks at uploads: no settings, no database, no network, only its folder. See worker/data_check.py.

Reads one request (JSON) from stdin, writes a pack and report.json, and ends; parsers run nowhere else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from shared.packs import PackWriter
from shared.parent import die_with
from shared.storage import is_full
from worker.checking.check import Check
from worker.checking.confine import confine
from worker.checking.protocol import CURRENT, OUR_DISK_IS_FULL, REPORT
from worker.checking.refusal import Limits

# Manifest lines come on top of the data.
MANIFEST_ROOM = 1 << 30


def main() -> int:
    request: dict[str, Any] = json.load(sys.stdin)
    die_with(request["parent"])
    work = Path(request["work"])
    limits = Limits(data_bytes=request["data_bytes"], **request["limits"])
    sandbox = confine(
        uploads=Path(request["uploads"]), work=work, file_bytes=limits.data_bytes + MANIFEST_ROOM
    )
    try:
        report = _report(request, work, limits) | {"sandbox": sandbox}
        (work / REPORT).write_text(json.dumps(report))
    except OSError as error:
        if is_full(error):
            return OUR_DISK_IS_FULL
        raise
    return 0


def _report(request: dict[str, Any], work: Path, limits: Limits) -> dict[str, Any]:
    def note(name: str) -> None:
        (work / CURRENT).write_text(name, encoding="utf-8")

    uploads = [(file["name"], Path(file["path"])) for file in request["files"]]
    with PackWriter(work) as writer:
        check = Check(writer, request["kind"], limits, note, request["accept_partial"])
        problems = check.run(uploads)
        writer.finish()
    return {"problems": problems, "fatal": check.fatal, "items": writer.items}


if __name__ == "__main__":
    sys.exit(main())
