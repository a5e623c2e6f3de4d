"""How pages say kinds, states, events and values in the language of the reader: Jinja filters, plain functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from flask import Flask
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from web.said import said
from web.views.names import figure_name
from web.views.numbers import figure, number, ordinal

PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})
KINDS = {
    "train": _l("Training"),
    "generate": _l("Generation"),
    "evaluate": _l("Evaluation"),
    "prepare": _l("Preparation"),
    "tune": _l("Tuning"),
}
STATES = {
    "queued": _l("queued"),
    "running": _l("running"),
    "succeeded": _l("succeeded"),
    "failed": _l("failed"),
    "cancelled": _l("cancelled"),
    "paused": _l("paused"),
    "pausing": _l("pausing"),
    "stopping": _l("stopping"),
    "checking": _l("checking"),
    "ready": _l("ready"),
    "refused": _l("refused"),
    "online": _l("online"),
    "offline": _l("offline"),
    "draining": _l("draining"),
    "starting": _l("starting"),
    "busy": _l("busy"),
    "idle": _l("idle"),
}
# What data is made of, as the dataset says and as people do.
DATA = {"text": _l("text"), "images": _l("pictures")}
LANES = {
    "interactive": _l("short generations"),
    "batch": _l("long generations"),
    "train": _l("trainings"),
    "cpu": _l("without a device"),
}
# What each code of a failed job means to the person who asked for it.
ERRORS = {
    "bad_data": _l("The data cannot be used for this."),
    "deadline": _l("Its deadline passed."),
    "family_missing": _l("The worker does not have this model family any more."),
    "family_error": _l("The model family's own code failed."),
    "input_missing": _l("Something that it needs is not there any more."),
    "oom": _l("The device has too little memory for it; a smaller batch size may help."),
    "parent_failed": _l("The job it waited for did not succeed."),
    "poison": _l("It brought its worker down three times, so it is not tried again."),
    "runner_deaf": _l("It did not answer for too long."),
    "version_gone": _l("No worker offers this version of the model family any more."),
}
# Why a running job went back to the queue.
WHYS = {
    "database_away": _l("the database was away"),
    "drain": _l("the worker was stopping"),
    "drained": _l("the worker was stopping"),
    "not_published": _l("its results could not be stored"),
    "pause": _l("you paused it"),
    "rotate": _l("somebody else's turn"),
    "runner_died": _l("the runner ended"),
    "restored": _l("the server was restored from a backup"),
    "storage_away": _l("the storage did not answer"),
    "storage_full": _l("the disk was full"),
    "worker_lost": _l("the worker was lost"),
}
# Why a queued job does not run, where it is not only that others go first.
WAITS = {
    "paused": _l("paused by you"),
    "waits_for": _l("waits for another job"),
    "no_worker": _l("no worker that can run it is there"),
    "backoff": _l("tries again in a while"),
}
REASONS = {
    "waits_for": _l("It waits for another job to succeed."),
    "no_worker": _l("It waits for a worker that can run it; none is there now."),
    "backoff": _l("It failed by no fault of its own and is tried again in a while."),
    "device_busy": _l("The device is busy with what goes first; everybody here has a fair share."),
    "unknown": _l("The device is busy, and nobody knows for how long."),
    "starting": _l("A device has room; it starts in a moment."),
}
# In this order: each of them also claims to be those further down.
BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
LONG_VALUE = 2000


def init_app(app: Flask) -> None:
    said = (
        batches,
        browser_words,
        data_words,
        error_words,
        event_words,
        kind_name,
        kind_words,
        lane_words,
        plainly,
        reason_words,
        result_words,
        shown_state,
        state_name,
        state_words,
        title_of,
        waiting_words,
    )
    app.jinja_env.filters.update({function.__name__: function for function in said})
    app.jinja_env.globals.update(picture_types=PICTURES)


def title_of(thing: Mapping[str, Any]) -> str:
    """Its name, or what can be said instead."""
    if thing.get("name"):
        return str(thing["name"])
    if thing.get("kind") in KINDS:
        return f"{KINDS[thing['kind']]} {str(thing['id'])[-6:]}"
    return str(thing.get("id", ""))[-6:]


def kind_name(kind: str) -> str:
    return str(KINDS.get(kind, kind))


def kind_words(job: Mapping[str, Any]) -> str:
    return f"{KINDS.get(job['kind'], job['kind'])} · {job['family']}"


def is_paused(job: Mapping[str, Any]) -> bool:
    return bool(job.get("paused") or job.get("paused_at"))


def is_stopping(job: Mapping[str, Any]) -> bool:
    return bool(job.get("cancel_requested") or job.get("cancel_requested_at"))


def state_name(state: str) -> str:
    return str(STATES.get(state, state))


def data_words(kind: str) -> str:
    """What a dataset is made of."""
    return str(DATA.get(kind, kind))


def lane_words(lane: str) -> str:
    return str(LANES.get(lane, lane))


def shown_state(job: Mapping[str, Any]) -> str:
    """The state with the flags that people care about: `paused` is a queued job that nobody may claim."""
    if job["state"] in ("queued", "running") and is_paused(job):
        return "paused"
    return str(job["state"])


def state_words(job: Mapping[str, Any]) -> str:
    if job["state"] == "running" and is_stopping(job):
        return state_name("stopping")
    if job["state"] == "running" and is_paused(job):
        return state_name("pausing")
    return state_name(shown_state(job))


def waiting_words(job: Mapping[str, Any]) -> str:
    """Why a queued job does not run."""
    queue = job if "position" in job else job.get("queue") or {}
    if is_paused(job):
        return str(WAITS["paused"])
    if job.get("waits_for") and queue.get("reason") in (None, "waits_for"):
        return str(WAITS["waits_for"])
    if held := queue.get("waiting"):
        return said(str(held).removeprefix("waiting: "))
    place, reason = queue.get("position"), queue.get("reason")
    if reason in WAITS:
        return str(WAITS[reason])
    if not place:
        return str(_("waits to start"))
    if place == 1:
        return str(_("next to start"))
    return str(_("%(place)s in the queue", place=ordinal(place)))


def reason_words(job: Mapping[str, Any]) -> str:
    """The same as a sentence, for the page of the job, which shows the place already."""
    queue = job.get("queue") or {}
    if is_paused(job):
        return str(_("You paused it; it goes on when you resume it."))
    if held := queue.get("waiting"):
        return said(str(held).removeprefix("waiting: "))
    why = "waits_for" if job.get("waits_for") and not queue.get("reason") else queue.get("reason")
    return str(REASONS.get(str(why), ""))


def result_words(job: Mapping[str, Any]) -> str:
    """What came out, in a few words."""
    result = job.get("result") or {}
    artifacts = [a for a in result.get("artifacts", ()) if a.get("role") not in ("preview", "grid")]
    parts = [str(_("a model"))] if result.get("model_id") and job["kind"] == "train" else []
    if artifacts:
        count = number(len(artifacts))
        parts.append(
            str(ngettext("%(count)s result", "%(count)s results", len(artifacts), count=count))
        )
    return _joined(parts) or str(_("done"))


def _joined(parts: Iterable[str]) -> str:
    return str(_(", ")).join(parts)


def error_words(error: Mapping[str, Any]) -> str:
    return str(ERRORS.get(error["code"]) or error.get("message") or _("It failed."))


def event_words(event: Mapping[str, Any]) -> str:
    """A change of state as a short sentence without a subject."""
    data = event["data"]
    if event["type"] == "result":
        return str(_("left its result"))
    if data.get("cancel_requested"):
        return str(_("asked to stop"))
    if "paused" in data:
        return str(_("paused") if data["paused"] else _("resumed"))
    if data.get("state") == "queued" and data.get("why"):
        why = WHYS.get(data["why"], str(data["why"]).replace("_", " "))
        return str(_("back in the queue: %(why)s", why=why))
    if data.get("state") == "running":
        attempt = data.get("attempt", 1)
        return str(_("started") if attempt == 1 else _("started, attempt %(n)s", n=attempt))
    return state_name(str(data.get("state", "")))


def plainly(value: Any) -> str:
    """A value of JSON as text that people read."""
    if value is None:
        return str(_("not set"))
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    if isinstance(value, (list, tuple)):
        text = _joined(plainly(part) for part in value) or str(_("none"))
    elif isinstance(value, Mapping):
        pairs = (f"{figure_name(name)} {plainly(part)}" for name, part in value.items())
        text = _joined(pairs) or str(_("none"))
    else:
        text = str(value)
    return text if len(text) <= LONG_VALUE else text[:LONG_VALUE] + " …"


def pairs(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Facts and figures, named in words."""
    return [
        (figure_name(name), figure(value) if isinstance(value, float) else _fact(value))
        for name, value in (found or {}).items()
    ]


def _fact(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return number(value) if whole else plainly(value)


def batches(fields: Iterable[Any]) -> list[tuple[bool, list[Any]]]:
    """Fields in runs: (long ones, which stand alone?, the fields)."""
    long = ("textarea", "list", "ref", "checkbox")
    return [(is_long, list(run)) for is_long, run in groupby(fields, lambda f: f.kind in long)]


def browser_words(agent: str) -> str:
    """What a browser calls itself, in two words."""
    browser = next((words for mark, words in BROWSERS if mark in agent), "")
    system = next((name for name in SYSTEMS if name in agent), "")
    if browser and system:
        return str(_("%(browser)s on %(system)s", browser=browser, system=system))
    return browser or system or agent[:60] or str(_("unknown"))
