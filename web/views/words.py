"""How pages say numbers, times, sizes and states: Jinja filters, all of them plain functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from flask import Flask
from markupsafe import Markup

PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})
KINDS = {
    "train": "Training",
    "generate": "Generation",
    "evaluate": "Evaluation",
    "prepare": "Preparation",
    "tune": "Tuning",
}
# What each code of a failed job means to the person who asked for it.
ERRORS = {
    "bad_data": "The data cannot be used for this.",
    "deadline": "Its deadline passed.",
    "family_missing": "The worker does not have this model family any more.",
    "family_error": "The model family's own code failed.",
    "input_missing": "Something that it needs is not there any more.",
    "oom": "The device has too little memory for it; a smaller batch size may help.",
    "parent_failed": "The job it waited for did not succeed.",
    "poison": "It brought its worker down three times, so it is not tried again.",
    "runner_deaf": "It did not answer for too long.",
    "version_gone": "No worker offers this version of the model family any more.",
}
# Why a running job went back to the queue.
WHYS = {
    "database_away": "the database was away",
    "drain": "the worker was stopping",
    "drained": "the worker was stopping",
    "not_published": "its results could not be stored",
    "pause": "you paused it",
    "rotate": "somebody else's turn",
    "runner_died": "the runner ended",
    "restored": "the server was restored from a backup",
    "storage_away": "the storage did not answer",
    "storage_full": "the disk was full",
    "worker_lost": "the worker was lost",
}
# Why a queued job does not run, where it is not only that others go first.
WAITS = {
    "paused": "paused by you",
    "waits_for": "waits for another job",
    "no_worker": "no worker that can run it is there",
    "backoff": "tries again in a while",
}
# In this order: each of them also claims to be those further down.
BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
LONG_VALUE = 2000
# Largest first: (seconds of one, words)
SPANS = ((86_400.0, "day"), (3600.0, "hour"), (60.0, "minute"))


def init_app(app: Flask) -> None:
    said = (
        ago,
        batches,
        browser_words,
        day,
        duration,
        error_words,
        event_words,
        figure,
        kind_words,
        moment,
        number,
        percent,
        plainly,
        result_words,
        shown_state,
        size,
        state_words,
        title_of,
        waiting_words,
    )
    app.jinja_env.filters.update({function.__name__: function for function in said})
    app.jinja_env.globals.update(picture_types=PICTURES)


def when(value: Any) -> datetime | None:
    """A time of the API (RFC 3339, or seconds since 1970)."""
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    try:
        return datetime.fromisoformat(value) if value else None
    except (TypeError, ValueError):
        return None


def moment(value: Any) -> str | Markup:
    """A time to the minute, as <time>."""
    at = when(value)
    return _time(at, f"{at.day} {at:%b %Y, %H:%M} UTC") if at else ""


def day(value: Any) -> str | Markup:
    at = when(value)
    return _time(at, f"{at.day} {at:%b %Y}") if at else ""


def ago(value: Any) -> str | Markup:
    """A time as people say it, as <time>; its title is exact."""
    at = when(value)
    if at is None:
        return ""
    seconds = (datetime.now(UTC) - at).total_seconds()
    if seconds < -60:
        return _time(at, f"in {_span(-seconds)}")
    if seconds < 45:
        return _time(at, "just now")
    if seconds < 7 * 86_400:
        return _time(at, f"{_span(seconds)} ago")
    return _time(at, f"{at.day} {at:%b %Y}")


def _time(at: datetime, words: str) -> Markup:
    exact = at.astimezone(UTC)
    iso, title = exact.isoformat(timespec="seconds"), f"{exact:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, title, words)


def _span(seconds: float) -> str:
    for one, words in SPANS:
        if seconds >= one * 0.95:
            many = round(seconds / one)
            return f"{many} {words}{'' if many == 1 else 's'}"
    many = max(1, round(seconds))
    return f"{many} second{'' if many == 1 else 's'}"


def duration(seconds: Any) -> str:
    """A length of time, in its two largest units."""
    if seconds is None:
        return ""
    seconds = max(0.0, float(seconds))
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def number(value: Any) -> str:
    """Thousands apart; whole numbers without a point."""
    if value is None:
        return ""
    if isinstance(value, float) and not value.is_integer():
        return figure(value)
    return f"{int(value):,}"


def figure(value: Any) -> str:
    """A measured number in four significant digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return "not a number"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def percent(fraction: Any) -> str:
    """Rounded down, so that 100 % means done."""
    return f"{math.floor(float(fraction or 0) * 100)} %"


def size(count: Any) -> str:
    """Bytes in the unit that suits."""
    amount = float(count or 0)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return (
                f"{amount:.0f} {unit}"
                if unit == "bytes" or amount >= 10
                else f"{amount:.1f} {unit}"
            )
        amount /= 1000
    return f"{amount:.1f} TB"


def ordinal(n: int) -> str:
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"


def title_of(thing: Mapping[str, Any]) -> str:
    """Its name, or what can be said instead."""
    if thing.get("name"):
        return str(thing["name"])
    if thing.get("kind") in KINDS:
        return f"{KINDS[thing['kind']]} {str(thing['id'])[-6:]}"
    return str(thing.get("id", ""))[-6:]


def kind_words(job: Mapping[str, Any]) -> str:
    return f"{KINDS.get(job['kind'], job['kind'])} · {job['family']}"


def is_paused(job: Mapping[str, Any]) -> bool:
    return bool(job.get("paused") or job.get("paused_at"))


def is_stopping(job: Mapping[str, Any]) -> bool:
    return bool(job.get("cancel_requested") or job.get("cancel_requested_at"))


def shown_state(job: Mapping[str, Any]) -> str:
    """The state with the flags that people care about: `paused` is a queued job that nobody may claim."""
    if job["state"] in ("queued", "running") and is_paused(job):
        return "paused"
    return str(job["state"])


def state_words(job: Mapping[str, Any]) -> str:
    if job["state"] == "running" and is_stopping(job):
        return "stopping"
    if job["state"] == "running" and is_paused(job):
        return "pausing"
    return shown_state(job)


def waiting_words(job: Mapping[str, Any]) -> str:
    """Why a queued job does not run."""
    queue = job if "position" in job else job.get("queue") or {}
    if is_paused(job):
        return WAITS["paused"]
    if job.get("waits_for") and queue.get("reason") in (None, "waits_for"):
        return WAITS["waits_for"]
    if held := queue.get("waiting"):
        return str(held).removeprefix("waiting: ")
    place, reason = queue.get("position"), queue.get("reason")
    if reason in WAITS:
        return WAITS[reason]
    if not place:
        return "waits to start"
    return "next to start" if place == 1 else f"{ordinal(place)} in the queue"


def result_words(job: Mapping[str, Any]) -> str:
    """What came out, in a few words."""
    result = job.get("result") or {}
    artifacts = [a for a in result.get("artifacts", ()) if a.get("role") not in ("preview", "grid")]
    parts = ["a model"] if result.get("model_id") and job["kind"] == "train" else []
    if artifacts:
        parts.append(f"{len(artifacts):,} result{'' if len(artifacts) == 1 else 's'}")
    return ", ".join(parts) or "done"


def error_words(error: Mapping[str, Any]) -> str:
    return ERRORS.get(error["code"]) or error.get("message") or "It failed."


def event_words(event: Mapping[str, Any]) -> str:
    """A change of state as a short sentence without a subject."""
    data = event["data"]
    if event["type"] == "result":
        return "left its result"
    if data.get("cancel_requested"):
        return "asked to stop"
    if "paused" in data:
        return "paused" if data["paused"] else "resumed"
    if data.get("state") == "queued" and data.get("why"):
        return f"back in the queue: {WHYS.get(data['why'], str(data['why']).replace('_', ' '))}"
    if data.get("state") == "running":
        attempt = data.get("attempt", 1)
        return "started" if attempt == 1 else f"started, attempt {attempt}"
    return str(data.get("state", ""))


def plainly(value: Any) -> str:
    """A value of JSON as text that people read."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        text = ", ".join(plainly(part) for part in value) or "none"
    elif isinstance(value, Mapping):
        text = ", ".join(f"{name} {plainly(part)}" for name, part in value.items()) or "none"
    else:
        text = str(value)
    return text if len(text) <= LONG_VALUE else text[:LONG_VALUE] + " …"


def pairs(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Facts and figures, named in words."""
    return [
        (name.replace("_", " "), figure(value) if isinstance(value, float) else _fact(value))
        for name, value in (found or {}).items()
    ]


def _fact(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else plainly(value)


def batches(fields: Iterable[Any]) -> list[tuple[bool, list[Any]]]:
    """Fields in runs: (long ones, which stand alone?, the fields)."""
    long = ("textarea", "list", "ref", "checkbox")
    return [(is_long, list(run)) for is_long, run in groupby(fields, lambda f: f.kind in long)]


def browser_words(agent: str) -> str:
    """What a browser calls itself, in two words."""
    browser = next((words for mark, words in BROWSERS if mark in agent), "")
    system = next((name for name in SYSTEMS if name in agent), "")
    known = " on ".join(part for part in (browser, system) if part)
    return known or agent[:60] or "unknown"
