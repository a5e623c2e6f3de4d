"""Archives: many files as one streamed zip; length and ETag are known beforehand, so a broken download goes on."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

from flask import Blueprint, Response, request

from shared.errors import Conflict, NotFound
from web.api.answers import body
from web.api.describe import CONDITION, NOT_MODIFIED, RANGE, ZIP, Answer, file_answers, told
from web.requests import ArtifactIds
from web.security import current_user, studio
from web.services import archives

A_ZIP = Answer("The zip.", content=ZIP, headers=("ETag",))

bp = Blueprint("archives", __name__)


@bp.get("/jobs/<job_id>/archive")
@told("Download the results of a job", file_answers(ZIP), headers=RANGE)
def job(job_id: str) -> Response:
    """A zip with manifest.json: ids, hashes, seed, parameters, labels, lineage."""
    return zip_answer(archives.job_archive(studio(), current_user(), job_id))


@bp.post("/artifacts/archive")
@told("Download chosen results", {200: A_ZIP}, body=ArtifactIds, errors=(NotFound,))
def artifacts() -> Response:
    asked = body(ArtifactIds)
    return zip_answer(archives.artifacts_archive(studio(), current_user(), asked.ids))


@bp.get("/models/<model_id>/archive")
@told("Download a model", file_answers(ZIP), headers=RANGE)
def model(model_id: str) -> Response:
    """A zip of the folder that `from_pretrained` of the owning library loads, with a card."""
    return zip_answer(archives.model_archive(studio(), current_user(), model_id))


@bp.get("/datasets/<dataset_id>/archive")
@told("Download a dataset", {200: A_ZIP, 304: NOT_MODIFIED}, headers=CONDITION, errors=(Conflict,))
def dataset(dataset_id: str) -> Response:
    """A zip of the items and manifest.jsonl with their labels and captions."""
    return zip_answer(archives.dataset_archive(studio(), current_user(), dataset_id))


def _named(name: str) -> dict[str, str]:
    """A header holds ASCII only: whoever reads RFC 5987 gets the name as it is, everybody else what is left of it."""
    if name.isascii():
        return {"filename": name}
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return {"filename": plain, "filename*": f"UTF-8''{quote(name, safe='')}"}


def zip_answer(archive: archives.Archive) -> Response:
    """The files are opened one after the other while they are sent; HEAD opens none."""
    parts = iter(()) if request.method == "HEAD" else archive.read()
    response = Response(parts, mimetype="application/zip")
    # or Werkzeug would read everything in order to count it
    response.automatically_set_content_length = False
    response.headers.set("Content-Disposition", "attachment", **_named(archive.name))
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(archive.etag)
    if archive.size is not None:
        response.content_length = archive.size
    counted = archive.size is not None and request.method != "POST"
    response.make_conditional(request, accept_ranges=counted, complete_length=archive.size)
    return response
