"""/jobs: submit, look, list, cancel, pause, resume, retry, delete."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, request

from shared import log
from shared.errors import (
    AlreadyEnded,
    Conflict,
    InUse,
    KeyReused,
    KindUnavailable,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooExpensive,
    TooManyRequests,
)
from shared.jobs import FINAL
from web.api import shapes_schema as shapes
from web.api.answers import answer, body, no_body, nothing, part_of, query
from web.api.describe import CONDITION, NOT_MODIFIED, NOTHING, TEXT, Answer, Schema, told
from web.queries import DryRun, Forced, Part, Points, Waiting
from web.requests import JobRequest
from web.security import current_user, studio
from web.services import jobs

RETRY_SECONDS = 2
VERSION = re.compile(r"[0-9]{1,9}")

ACCEPTED = Answer(
    "Accepted: it will reach a final state.",
    shapes.Job,
    headers=("Location", "Retry-After", "Idempotency-Replayed"),
)
LIMITS = (QuotaExceeded, StorageFull, TooManyRequests)
REFUSALS = (NotFound, KindUnavailable, TooExpensive, KeyReused, *LIMITS)
KEY: dict[str, Schema] = {
    "Idempotency-Key": {
        "description": "The same key with the same body is accepted once, for a day.",
        "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
    }
}
THE_JOB = {
    200: Answer("The job.", shapes.Job, headers=("ETag", "Retry-After")),
    304: NOT_MODIFIED,
}

bp = Blueprint("jobs", __name__, url_prefix="/jobs")


@bp.post("")
@told(
    "Submit a job",
    {200: Answer("A dry run: what it would be and cost.", shapes.Estimate), 202: ACCEPTED},
    query=DryRun,
    body=JobRequest,
    headers=KEY,
    errors=REFUSALS,
)
def submit() -> Response:
    """Checked before it is accepted: ids, parameters, the family's rules, price, quota."""
    key, dry_run = request.headers.get("Idempotency-Key"), query(DryRun).dry_run
    done = jobs.submit_job(studio(), current_user(), body(JobRequest), key, dry_run)
    return accepted(done) if done.text else answer(done.job)


@bp.post("/<job_id>/retry")
@told("The same job again", {202: ACCEPTED}, errors=(Conflict, *LIMITS))
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
@told("Your jobs, newest first", shapes.JobList, query=jobs.Filters)
def index() -> Response:
    return answer(jobs.list_jobs(studio(), current_user(), query(jobs.Filters)))


@bp.get("/<job_id>")
@told("One job", THE_JOB, query=Waiting, headers=CONDITION)
def show(job_id: str) -> Response:
    """With `wait` the answer is held until the job changes or ends: the way to follow it."""
    user, seconds = current_user(), query(Waiting).wait
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
    tags = request.if_none_match.as_set(include_weak=True)
    seen = [tag.partition(".")[0] for tag in tags if tag]  # a torn header gives None
    return max((int(number) for number in seen if VERSION.fullmatch(number)), default=None)


@bp.post("/<job_id>/cancel")
@told("Cancel a job", shapes.Job, errors=(AlreadyEnded,))
def cancel(job_id: str) -> Response:
    no_body()
    return answer(jobs.cancel_job(studio(), current_user(), job_id))


@bp.post("/<job_id>/pause")
@told("Pause a job", shapes.Job, errors=(AlreadyEnded,))
def pause(job_id: str) -> Response:
    no_body()
    return answer(jobs.pause_job(studio(), current_user(), job_id))


@bp.post("/<job_id>/resume")
@told("Resume a job", shapes.Job, errors=(AlreadyEnded,))
def resume(job_id: str) -> Response:
    no_body()
    return answer(jobs.resume_job(studio(), current_user(), job_id))


@bp.delete("/<job_id>")
@told("Delete a job and what it made", NOTHING, query=Forced, errors=(InUse,))
def delete(job_id: str) -> Response:
    jobs.delete_job(studio(), current_user(), job_id, force=query(Forced).force)
    return nothing()


@bp.get("/<job_id>/metrics")
@told("The numbers of a job", shapes.Metrics, query=Points)
def metrics(job_id: str) -> Response:
    points = query(Points).max_points
    return answer(jobs.job_metrics(studio(), current_user(), job_id, points))


@bp.get("/<job_id>/previews")
@told("What a training drew on its way", shapes.PreviewList, query=Part)
def previews(job_id: str) -> Response:
    found = jobs.job_previews(studio(), current_user(), job_id)["items"]
    return part_of(found, query(Part), _place_of, rising=True)


def _place_of(preview: dict[str, Any]) -> str:
    return f"{preview['step']:010}-{preview['index']:06}"


@bp.get("/<job_id>/log")
@told("The log of a job", {200: Answer("The log.", content=TEXT)})
def log_text(job_id: str) -> Response:
    text = jobs.job_log(studio(), current_user(), job_id)
    return Response(text, mimetype="text/plain")
