"""Jobs: the list, and a page that follows one, by its event stream or, without a script, by reloading itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.errors import AlreadyEnded, Conflict, InvalidInput, NotFound
from shared.jobs import FINAL, STATES
from shared.models import User
from web.requests import CheckpointModelRequest, ContinueRequest, check
from web.said import said
from web.security import current_user, studio
from web.services import continuing, datasets, families, jobs, models, queue
from web.views import charts, media, numbers, words
from web.views.deleting import delete_or_ask
from web.views.names import parameter_name

bp = Blueprint("jobs", __name__)

CHART_POINTS = 300
LOG_LINES = 40
MOST_EVENTS = 12
WHOLE = re.compile(r"[0-9]{1,9}")
MOST_ROUNDS = 16  # of previews
MOST_TEXTS = 20

Event = dict[str, Any]


@bp.get("/jobs")
def index() -> ResponseReturnValue:
    wanted = {name: request.args.get(name, "").strip() for name in ("state", "kind", "q", "after")}
    given = {name: value for name, value in wanted.items() if value}
    found = jobs.list_jobs(studio(), current_user(), check(jobs.Filters, given))
    return render_template(
        "jobs/index.html",
        jobs=found["items"],
        next=found["next"],
        wanted=wanted,
        states=STATES,
        kinds=words.KINDS,
    )


@bp.get("/jobs/<job_id>")
def show(job_id: str) -> ResponseReturnValue:
    user = current_user()
    job = jobs.get_job(studio(), user, job_id)
    events = _events(user, job)
    made = job["result"]["artifacts"] if job["result"] else []
    train = job["kind"] == "train"
    series = jobs.job_metrics(studio(), user, job_id, CHART_POINTS)["series"] if train else {}
    subjects = _subjects(user, job)
    return render_template(
        "jobs/show.html",
        chart=charts.loss_chart(series),
        results=[
            *media.with_texts(user, made[:MOST_TEXTS]),
            *made[MOST_TEXTS:],
        ],
        rounds=_rounds(user, job),
        checkpoints=_checkpoints(user, job),
        texts={} if made else _texts(events),
        pictures=_makes_pictures(job),
        places=_places(job),
        metrics=words.pairs(job["result"]["metrics"]) if job["result"] else [],
        log=_tail(jobs.job_log(studio(), user, job_id)),
        events=[one for one in events if one["type"] in ("state", "result")][-MOST_EVENTS:],
        **_standing(job),
        **subjects,
    )


@bp.get("/jobs/<job_id>/progress")
def progress(job_id: str) -> ResponseReturnValue:
    """The card that says how it stands, for the page that follows it."""
    job = jobs.get_job(studio(), current_user(), job_id)
    return render_template("jobs/progress.html", **_standing(job))


def _standing(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "job": job,
        "still": "still" in request.args,
        "follow": job["state"] not in FINAL and "still" not in request.args,
        "elapsed": _between(job["started_at"], job["finished_at"]),
        "waited": _between(job["created_at"], job["started_at"] or job["finished_at"]),
        "line": queue.line_of(studio(), job["lane"]) if job["state"] == "queued" else 0,
    }


@bp.get("/jobs/<job_id>/log")
def log(job_id: str) -> ResponseReturnValue:
    return Response(jobs.job_log(studio(), current_user(), job_id), mimetype="text/plain")


@bp.post("/jobs/<job_id>/cancel")
def cancel(job_id: str) -> ResponseReturnValue:
    return _back(job_id, lambda user: jobs.cancel_job(studio(), user, job_id))


@bp.post("/jobs/<job_id>/pause")
def pause(job_id: str) -> ResponseReturnValue:
    return _back(job_id, lambda user: jobs.pause_job(studio(), user, job_id))


@bp.post("/jobs/<job_id>/resume")
def resume(job_id: str) -> ResponseReturnValue:
    return _back(job_id, lambda user: jobs.resume_job(studio(), user, job_id))


@bp.post("/jobs/<job_id>/retry")
def retry(job_id: str) -> ResponseReturnValue:
    done = jobs.retry_job(studio(), current_user(), job_id)
    flash(_("The same again, with the same seed and parameters."))
    return redirect(url_for("pages.jobs.show", job_id=done.job["id"]), 303)


@bp.post("/jobs/<job_id>/continue")
def go_on(job_id: str) -> ResponseReturnValue:
    jobs.get_job(studio(), current_user(), job_id)  # 404 goes before what is wrong with the form
    asked = {"steps": _whole("steps")}
    return _new(
        job_id,
        lambda user: continuing.continue_job(studio(), user, job_id, check(ContinueRequest, asked)),
    )


@bp.post("/jobs/<job_id>/model")
def make_model(job_id: str) -> ResponseReturnValue:
    step, asked = _whole("step"), CheckpointModelRequest()
    step = -1 if step is None else step  # there is no checkpoint there
    return _new(job_id, lambda user: continuing.make_model(studio(), user, job_id, step, asked))


def _whole(name: str) -> int | None:
    """A whole number of a form; None where there is none, which is told once the job is found."""
    text = request.form.get(name, "").strip()
    return int(text) if WHOLE.fullmatch(text) else None


def _new(job_id: str, submit: Callable[[User], jobs.Submitted]) -> ResponseReturnValue:
    """To the page of the job that this made, or back with the reason why it made none."""
    user = current_user()
    jobs.get_job(studio(), user, job_id)  # what is not there has no page to go back to
    try:
        job_id = submit(user).job["id"]
    except (Conflict, InvalidInput) as error:
        problems = error.errors if isinstance(error, InvalidInput) else []
        reasons = [_reason(one) for one in problems]
        flash("; ".join(reasons) or error.message, "warning")
    return redirect(url_for("pages.jobs.show", job_id=job_id), 303)


def _reason(problem: dict[str, str]) -> str:
    name = parameter_name(problem["pointer"].rpartition("/")[2])
    return f"{name}: {said(problem['message'])}"


@bp.post("/jobs/<job_id>/delete")
def delete(job_id: str) -> ResponseReturnValue:
    user = current_user()
    return delete_or_ask(
        lambda force: jobs.delete_job(studio(), user, job_id, force),
        _("The job is deleted."),
        url_for("pages.jobs.index"),
    )


def _back(job_id: str, change: Any) -> ResponseReturnValue:
    """To the job's page, which says how it stands; it may have ended while the button was pressed."""
    try:
        change(current_user())
    except AlreadyEnded as error:
        flash(error.message, "warning")
    return redirect(url_for("pages.jobs.show", job_id=job_id), 303)


def _events(user: User, job: dict[str, Any]) -> list[Event]:
    """What happened and what was shown, without the many numbers in between."""
    return jobs.latest_events(studio(), user, job["id"], ("state", "preview", "result"))


def _rounds(user: User, job: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Pictures and texts that a training drew on its way, by step."""
    return media.rounds(user, job["id"], MOST_ROUNDS) if job["kind"] == "train" else {}


def _checkpoints(user: User, job: dict[str, Any]) -> list[dict[str, Any]]:
    if job["kind"] != "train":
        return []
    return list(continuing.list_checkpoints(studio(), user, job["id"])["items"])


def _texts(events: list[Event]) -> dict[int, str]:
    """Of a running generation, the text so far of each sample."""
    newest: dict[int, str] = {}
    for one in events:
        text = one["data"].get("text")
        if one["type"] == "preview" and isinstance(text, str):
            newest[int(one["data"].get("index", 0))] = text
    return {index: newest[index][: media.MOST_TEXT] for index in sorted(newest)[:MOST_TEXTS]}


def _makes_pictures(job: dict[str, Any]) -> bool:
    try:
        return str(families.get_family(studio(), job["family"])["modality"]) == "image"
    except NotFound:
        return False


def _places(job: dict[str, Any]) -> int:
    """How many results to keep room for."""
    count = job["params"].get("count", 1)
    return max(1, min(count if isinstance(count, int) else 1, MOST_TEXTS))


def _tail(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(lines[-LOG_LINES:])


def _between(start: str | None, end: str | None) -> float | None:
    """Seconds, up to now while there is no end."""
    began, ended = numbers.when(start), numbers.when(end)
    if began is None:
        return None
    return max(0.0, ((ended or datetime.now(UTC)) - began).total_seconds())


def _subjects(user: User, job: dict[str, Any]) -> dict[str, Any]:
    """The dataset and the model that the job is about, if they still are there."""
    found: dict[str, Any] = {"dataset": None, "model": None}
    try:
        if job["dataset_id"]:
            found["dataset"] = datasets.get_dataset(studio(), user, job["dataset_id"])
        if job["model_id"]:
            found["model"] = models.get_model(studio(), user, job["model_id"])
    except NotFound:
        pass
    return found
