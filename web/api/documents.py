"""/openapi.json: what this API is. Everybody may read it; the families in it are for those who are signed in."""

from __future__ import annotations

import hashlib
import json

from flask import Blueprint, Response, current_app, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from web.api.answers import answer
from web.api.describe import CONDITION, NOT_MODIFIED, Answer, told
from web.api.document import document
from web.security import studio, user_or_none
from web.services import families

bp = Blueprint("documents", __name__)

THE_DOCUMENT = {
    200: Answer(
        "OpenAPI 3.1.", content={"application/json": {"type": "object"}}, headers=("ETag",)
    ),
    304: NOT_MODIFIED,
}


@bp.get("/openapi.json")
@told("This document", THE_DOCUMENT, headers=CONDITION, public=True)
def openapi() -> Response:
    """Without signing in it describes the calls; with a token or a session the families' parameters too."""
    known = families.list_families(studio()) if user_or_none() else []
    text = json.dumps(document(current_app, known), ensure_ascii=False)
    response = answer(text)
    response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(("Authorization", "Cookie"))
    response.make_conditional(request)
    return response


@bp.get("/docs")
@told("The page to read", {303: Answer("It lies at /docs.", headers=("Location",))}, public=True)
def docs() -> AnyResponse:
    return redirect(url_for("pages.docs.index"), 303)
