"""/artifacts: facts, bytes, lineage, deletion."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, send_file

from web.api.answers import answer, flag, nothing
from web.security import current_user, studio
from web.services import artifacts

# What a browser may show in place: nothing that can hold a script.
SHOWN_IN_PLACE = frozenset({"image/png", "image/jpeg", "image/webp", "text/plain"})
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

bp = Blueprint("artifacts", __name__, url_prefix="/artifacts")


@bp.get("/<artifact_id>")
def show(artifact_id: str) -> Response:
    return answer(artifacts.get_artifact(studio(), current_user(), artifact_id))


@bp.get("/<artifact_id>/content")
def content(artifact_id: str) -> Response:
    artifact, path = artifacts.open_artifact(studio(), current_user(), artifact_id)
    return file_answer(artifact, path, inline=flag("inline"))


def file_answer(file: dict[str, Any], path: Any, *, inline: bool) -> Response:
    """Bytes that people or models made: as a download, in a sandbox, never sniffed."""
    media_type = file["media_type"]
    response = send_file(
        path,
        mimetype=media_type,
        as_attachment=not (inline and media_type in SHOWN_IN_PLACE),
        download_name=_printable(file["name"]),
        etag=file["sha256"],
        conditional=True,
    )
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _printable(name: str) -> str:
    """Line breaks would end the header; direction marks make a name look like another one."""
    return "".join(character if character.isprintable() else "_" for character in name)


@bp.get("/<artifact_id>/lineage")
def lineage(artifact_id: str) -> Response:
    return answer(artifacts.lineage(studio(), current_user(), artifact_id))


@bp.delete("/<artifact_id>")
def delete(artifact_id: str) -> Response:
    artifacts.delete_artifact(studio(), current_user(), artifact_id, force=flag("force"))
    return nothing()
