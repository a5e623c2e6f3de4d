"""Quotas beside what is used of them, as rows for plain bars."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _

from web.views import numbers

Row = dict[str, Any]


def bars(limits: dict[str, Any], use: dict[str, Any]) -> list[Row]:
    today = use["device_seconds_today"] + use["device_seconds_reserved"]
    return [
        _bar(_("Queued jobs"), use["queued_jobs"], limits["max_queued_jobs"], numbers.number),
        _bar(_("Running jobs"), use["running_jobs"], limits["max_running_jobs"], numbers.number),
        _bar(_("Stored"), use["storage_bytes"], limits["max_storage_bytes"], numbers.size),
        _bar(
            _("Device time in 24 hours"),
            today,
            limits["max_device_seconds_a_day"],
            numbers.duration,
        ),
    ]


def _bar(label: str, used: float, allowed: float | None, say: Any) -> Row:
    text = (
        say(used) if allowed is None else _("%(done)s of %(all)s", done=say(used), all=say(allowed))
    )
    part = None if allowed is None else min(1.0, used / allowed) if allowed else 1.0
    return {"label": label, "text": text, "part": part}
