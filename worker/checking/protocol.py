"""The names that worker/data_check.py and its child agree on, so that the parent imports no parser."""

from __future__ import annotations

REPORT = (
    "report.json"  # {"problems": [...], "fatal": bool, "items": n, "sandbox": {...}}, written last
)
CURRENT = "current"  # name of the upload that is being looked at
OUR_DISK_IS_FULL = 75  # exit status
EXECUTABLE = "worker.data_check_child"
