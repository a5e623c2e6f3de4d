"""/me: who I am, what I may hold, my tokens."""

from __future__ import annotations

from flask import Blueprint, Response, request

from shared.errors import InvalidInput
from web.api.answers import answer, body, nothing
from web.requests import TokenRequest
from web.security import current_user, studio
from web.services import queue, tokens

bp = Blueprint("me", __name__, url_prefix="/me")


@bp.get("")
def show() -> Response:
    return answer(queue.get_me(studio(), current_user()))


@bp.get("/tokens")
def token_index() -> Response:
    return answer({"items": tokens.list_tokens(studio(), current_user()), "next": None})


@bp.post("/tokens")
def token_create() -> Response:
    asked = body(TokenRequest)
    user, days = current_user(), asked.expires_days
    made = tokens.issue_token(studio().db, user, asked.name, days, asked.scopes)
    return answer(made, 201)


@bp.delete("/tokens")
def token_delete_named() -> Response:
    """?id=…: the same as DELETE /me/tokens/ID."""
    if not (token_id := request.args.get("id")):
        raise InvalidInput(errors=[{"pointer": "/id", "message": "is required"}])
    return token_delete(token_id)


@bp.delete("/tokens/<token_id>")
def token_delete(token_id: str) -> Response:
    tokens.revoke_token(studio(), current_user(), token_id)
    return nothing()
