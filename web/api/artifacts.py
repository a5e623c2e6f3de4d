"""/artifacts: the gallery, facts, bytes, stars, tags and sharing, lineage, deletion."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, BinaryIO

from flask import Blueprint, Response, request, send_file
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from shared.errors import InUse
from web.api import shapes_schema as shapes
from web.api.answers import answer, body, nothing, query
from web.api.describe import BYTES, NOTHING, RANGE, file_answers, told
from web.queries import Forced, InPlace, ResultThumbnailSize
from web.requests import ArtifactChange
from web.security import current_user, studio
from web.services import artifacts, results

# What a browser may show in place: nothing that can hold a script.
SHOWN_IN_PLACE = frozenset({"image/png", "image/jpeg", "image/webp", "text/plain"})
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class ArtifactId(BaseConverter):
    """Any one part of a path but the call beside it, POST /artifacts/archive."""

    regex = "(?!archive$)[^/]+"


bp = Blueprint("artifacts", __name__, url_prefix="/artifacts")


@bp.get("")
@told("Your results, or the shared ones", shapes.ResultList, query=results.Filters)
def index() -> Response:
    """Newest first; without previews."""
    return answer(results.list_results(studio(), current_user(), query(results.Filters)))


@bp.get("/<artifact:artifact_id>")
@told("One result", shapes.Result)
def show(artifact_id: str) -> Response:
    return answer(results.get_result(studio(), current_user(), artifact_id))


@bp.patch("/<artifact:artifact_id>")
@told("Star, tag or share a result", shapes.Result, body=ArtifactChange)
def change(artifact_id: str) -> Response:
    """Stars and tags are your own, also on what others share; only the owner shares."""
    wanted = body(ArtifactChange)
    (changed,) = results.change_results(studio(), current_user(), [artifact_id], wanted)
    return answer(changed)


@bp.get("/<artifact_id>/content")
@told("The bytes of a result", file_answers(BYTES), query=InPlace, headers=RANGE)
def content(artifact_id: str) -> Response:
    in_place = query(InPlace).inline
    artifact, file = artifacts.open_artifact(studio(), current_user(), artifact_id)
    return file_answer(artifact, file, name=artifact["name"], in_place=in_place)


@bp.get("/<artifact_id>/thumbnail")
@told("A small picture of a result", file_answers(BYTES), query=ResultThumbnailSize, headers=RANGE)
def thumbnail(artifact_id: str) -> Response:
    """A result never changes: its owner's browser keeps the small picture and does not ask again."""
    # there is one so far, for the largest of these sizes on a dense screen
    query(ResultThumbnailSize)
    found, file, mine = artifacts.open_thumbnail(studio(), current_user(), artifact_id)
    response = file_answer(found, file, name=found["name"], in_place=True)
    if mine:
        response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return response


def file_answer(
    facts: dict[str, Any], file: BinaryIO, *, name: str, in_place: bool, etag: str = ""
) -> Response:
    """Bytes that people or models made: as a download, in a sandbox, never sniffed. `file` is closed with it."""
    media_type, size = facts["media_type"], facts["bytes"]
    response = send_file(
        file,
        mimetype=media_type,
        as_attachment=not (in_place and media_type in SHOWN_IN_PLACE),
        download_name=_printable(name),
        etag=etag or facts["sha256"],
        conditional=False,
    )
    response.content_length = size
    try:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=size)
    except HTTPException:  # there is no such part
        file.close()
        raise
    if response.status_code == HTTPStatus.NOT_MODIFIED or request.method == "HEAD":
        file.close()
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _printable(name: str) -> str:
    """Line breaks would end the header; direction marks make a name look like another one."""
    return "".join(character if character.isprintable() else "_" for character in name)


@bp.get("/<artifact_id>/lineage")
@told("Where a result comes from", shapes.Lineage)
def lineage(artifact_id: str) -> Response:
    return answer(artifacts.lineage(studio(), current_user(), artifact_id))


@bp.delete("/<artifact:artifact_id>")
@told("Delete a result", NOTHING, query=Forced, errors=(InUse,))
def delete(artifact_id: str) -> Response:
    force = query(Forced).force
    artifacts.delete_artifact(studio(), current_user(), artifact_id, force=force)
    return nothing()
