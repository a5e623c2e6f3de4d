"""/jobs: submit, look, list, cancel, pause, resume, retry, delete."""

from __future__ import annotations

import re

from flask import Blueprint, Response, request

from shared import log
from shared.jobs import FINAL
from web.api.answers import answer, body, flag, no_body, nothing, number, query
from web.requests import JobRequest
from web.security import current_user, studio
from web.services import jobs

RETRY_SECONDS = 2
LONGEST_WAIT = 60
VERSION = re.compile(r"[0-9]{1,9}")

bp = Blueprint("jobs", __name__, url_prefix="/jobs")


@bp.post("")
def submit() -> Response:
    key = request.headers.get("Idempotency-Key")
    done = jobs.submit_job(studio(), current_user(), body(JobRequest), key, flag("dry_run"))
    return accepted(done) if done.text else answer(done.job)


@bp.post("/<job_id>/retry")
def retry(job_id: str) -> Response:
    no_body()
    return accepted(jobs.retry_job(studio(), current_user(), job_id))


def accepted(done: jobs.Submitted) -> Response:
    log.job_id.set(done.job["id"])
    response = answer(done.text, 202)
    response.headers["Location"] = f"/api/v1/jobs/{done.job['id']}"
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    if done.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@bp.get("")
def index() -> Response:
    return answer(jobs.list_jobs(studio(), current_user(), query(jobs.Filters)))


@bp.get("/<job_id>")
def show(job_id: str) -> Response:
    user, seconds = current_user(), number("wait", 0, 0, LONGEST_WAIT)
    if seconds:
        jobs.wait_for_news(studio(), user, job_id, _version_seen(), seconds)
    _, state, tag = jobs.job_tag(studio(), user, job_id)
    # weakly: a proxy that packs an answer weakens its tag
    if request.if_none_match.contains_weak(tag.strip('"')):
        response = Response(status=304)
    else:
        job = jobs.get_job(studio(), user, job_id)
        state, tag = job["state"], tag if job["state"] == state else f'"{job["version"]}"'
        response = answer(job)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    if state not in FINAL:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _version_seen() -> int | None:
    """The version in If-None-Match; the clock that a tag holds while queued ends no wait."""
    seen = [tag.partition(".")[0] for tag in request.if_none_match.as_set(include_weak=True)]
    return max((int(number) for number in seen if VERSION.fullmatch(number)), default=None)


@bp.post("/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    no_body()
    return answer(jobs.cancel_job(studio(), current_user(), job_id))


@bp.post("/<job_id>/pause")
def pause(job_id: str) -> Response:
    no_body()
    return answer(jobs.pause_job(studio(), current_user(), job_id))


@bp.post("/<job_id>/resume")
def resume(job_id: str) -> Response:
    no_body()
    return answer(jobs.resume_job(studio(), current_user(), job_id))


@bp.delete("/<job_id>")
def delete(job_id: str) -> Response:
    jobs.delete_job(studio(), current_user(), job_id, force=flag("force"))
    return nothing()


@bp.get("/<job_id>/metrics")
def metrics(job_id: str) -> Response:
    points = number("max_points", 500, 2, 10_000)
    return answer(jobs.job_metrics(studio(), current_user(), job_id, points))


@bp.get("/<job_id>/previews")
def previews(job_id: str) -> Response:
    return answer(jobs.job_previews(studio(), current_user(), job_id))


@bp.get("/<job_id>/log")
def log_text(job_id: str) -> Response:
    text = jobs.job_log(studio(), current_user(), job_id)
    return Response(text, mimetype="text/plain")
