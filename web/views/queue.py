"""The queue as one person sees it: own jobs with their places and reasons, the share, lanes, devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from shared.errors import AlreadyEnded
from web.security import current_user, studio
from web.services import fair_share, jobs
from web.services.queue import whole_queue

bp = Blueprint("queue", __name__)


@bp.get("/queue")
def index() -> ResponseReturnValue:
    user = current_user()
    found = whole_queue(studio(), user)
    lanes = found["lanes"].values()
    return render_template(
        "queue.html",
        jobs=found["jobs"],
        yours=sum(lane["mine"] for lane in lanes),
        lanes=found["lanes"],
        running=sum(lane["running"] for lane in lanes),
        waiting=sum(lane["queued"] for lane in lanes),
        devices=found["devices"],
        workers=found["workers"],
        busy=fair_share.device_busy(studio()),
        share=fair_share.get_share(studio(), user),
    )


@bp.post("/queue/<job_id>/cancel")
def cancel(job_id: str) -> ResponseReturnValue:
    return _changed(jobs.cancel_job, job_id)


@bp.post("/queue/<job_id>/pause")
def pause(job_id: str) -> ResponseReturnValue:
    return _changed(jobs.pause_job, job_id)


@bp.post("/queue/<job_id>/resume")
def resume(job_id: str) -> ResponseReturnValue:
    return _changed(jobs.resume_job, job_id)


def _changed(change: Callable[..., Any], job_id: str) -> ResponseReturnValue:
    """Back to the queue; it may have ended while the button was pressed."""
    try:
        change(studio(), current_user(), job_id)
    except AlreadyEnded as error:
        flash(error.message, "warning")
    return redirect(url_for("pages.queue.index"), 303)
