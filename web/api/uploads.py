"""/uploads: files received piece by piece by the tus protocol, version 1.0 (creation, termination, expiration)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import ClientDisconnected

from shared.errors import (
    BadRequest,
    InvalidInput,
    QuotaExceeded,
    StorageFull,
    TooLarge,
)
from web.api import shapes_schema as shapes
from web.api.answers import WHOLE, answer, nothing, part_of, query
from web.api.describe import NOTHING, Answer, Schema, told
from web.queries import Part
from web.security import WrongMediaType, current_user, studio, takes_upload
from web.services import uploads
from web.services.uploads import OffsetMismatch

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
PIECE = "application/offset+octet-stream"
LONGEST_METADATA = 4096
LONGEST_NAME = 1000
CHUNK = 1 << 16

bp = Blueprint("uploads", __name__, url_prefix="/uploads")


class WrongVersion(BadRequest):
    """Send Tus-Resumable: 1.0.0."""

    status = 412
    code = "wrong_tus_version"
    headers = {"Tus-Version": VERSION}


STATE = ("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires")
NUMBER: Schema = {"required": True, "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}}
RESUMABLE: dict[str, Schema] = {
    "Tus-Resumable": {"required": True, "schema": {"type": "string", "enum": [VERSION]}}
}
LENGTH: dict[str, Schema] = {
    **RESUMABLE,
    "Upload-Length": {"description": "The bytes that will come.", **NUMBER},
    "Upload-Metadata": {
        "description": "Pairs of a key and base64, commas between; `filename` is kept.",
        "schema": {"type": "string"},
    },
}
OFFSET: dict[str, Schema] = {
    **RESUMABLE,
    "Upload-Offset": {"description": "Where this piece begins.", **NUMBER},
}
OPTIONS = Answer(
    "What of tus is here.",
    headers=("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
)
MADE = Answer("Begun.", shapes.UploadState, headers=("Location", *STATE))
FULL = (QuotaExceeded, StorageFull, TooLarge)


@bp.after_request
def _say_version(response: Response) -> Response:
    response.headers["Tus-Resumable"] = VERSION
    return response


@bp.route("", methods=["OPTIONS"])
@told("What of tus is here", {204: OPTIONS})
def options() -> Response:
    response = nothing()
    response.headers["Tus-Version"] = VERSION
    response.headers["Tus-Extension"] = EXTENSIONS
    response.headers["Tus-Max-Size"] = str(studio().settings.max_upload_bytes)
    return response


@bp.get("")
@told("Your unfinished and unused uploads", shapes.UploadList, query=Part)
def index() -> Response:
    return part_of(uploads.list_uploads(studio(), current_user())["items"], query(Part))


@bp.post("")
@told("Begin an upload", {201: MADE}, headers=LENGTH, errors=(WrongVersion, *FULL))
def create() -> Response:
    _check_version()
    made = uploads.start(studio(), current_user(), _header_number("Upload-Length"), _file_name())
    response = _about(answer(made, 201), made)
    response.headers["Location"] = f"{request.path}/{made['id']}"
    return response


@bp.get("/<upload_id>")
@told("Where an upload stands", {200: Answer("Its state.", shapes.UploadState, headers=STATE)})
def show(upload_id: str) -> Response:
    """HEAD, too: where to go on."""
    found = uploads.show(studio(), current_user(), upload_id)
    return _about(answer(found), found)


@bp.patch("/<upload_id>")
@told(
    "Send a piece of an upload",
    {204: Answer("Kept.", headers=STATE)},
    form={PIECE: {}},
    headers=OFFSET,
    errors=(WrongVersion, OffsetMismatch, *FULL),
)
@takes_upload
def receive(upload_id: str) -> Response:
    found = uploads.show(studio(), current_user(), upload_id)
    _check_version()
    if request.mimetype != PIECE:
        raise WrongMediaType(f"Send {PIECE}.")
    offset = _header_number("Upload-Offset")
    found = uploads.receive(studio(), current_user(), upload_id, offset, _chunks())
    return _about(nothing(), found)


@bp.delete("/<upload_id>")
@told("Delete an upload", NOTHING)
def remove(upload_id: str) -> Response:
    uploads.remove(studio(), current_user(), upload_id)
    return nothing()


def _chunks() -> Iterator[bytes]:
    """What comes of the body. If the connection breaks, what came before is kept."""
    try:
        while chunk := request.stream.read(CHUNK):
            yield chunk
    except (ClientDisconnected, OSError):
        return


def _check_version() -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise WrongVersion()


def _header_number(name: str) -> int:
    text = request.headers.get(name, "")
    if not WHOLE.fullmatch(text):
        raise InvalidInput(errors=[{"pointer": f"/{name}", "message": "must be a whole number"}])
    return int(text)


def _file_name() -> str:
    """`filename` (or `name`) of Upload-Metadata: pairs of a key and base64, commas between."""
    text = request.headers.get("Upload-Metadata", "")
    found: dict[str, str] = {}
    try:
        if len(text) > LONGEST_METADATA:
            raise ValueError
        for pair in filter(None, text.split(",")):
            key, _, value = pair.strip().partition(" ")
            found[key] = base64.b64decode(value, validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        message = "must be keys with base64 of UTF-8, at most 4,096 characters"
        raise InvalidInput(errors=[{"pointer": "/Upload-Metadata", "message": message}]) from None
    name = found.get("filename") or found.get("name") or "file"
    return name.replace("\0", "")[-LONGEST_NAME:]


def _about(response: Response, found: dict[str, Any]) -> Response:
    name = base64.b64encode(found["name"].encode()).decode()
    response.headers["Upload-Offset"] = str(found["offset"])
    response.headers["Upload-Length"] = str(found["length"])
    response.headers["Upload-Metadata"] = f"filename {name}"
    expires = datetime.fromisoformat(found["expires_at"])
    response.headers["Upload-Expires"] = format_datetime(expires, usegmt=True)
    return response
