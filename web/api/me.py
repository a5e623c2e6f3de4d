"""/me: who I am, what I may hold, my tokens."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import NotFound
from web.api import shapes_server as shapes
from web.api.answers import answer, body, nothing, part_of, query
from web.api.describe import NOTHING, Answer, told
from web.queries import Part, TokenId
from web.requests import TokenRequest
from web.security import current_user, studio
from web.services import queue, tokens

bp = Blueprint("me", __name__, url_prefix="/me")


@bp.get("")
@told("Who you are, what you may hold and hold", shapes.Me)
def show() -> Response:
    return answer(queue.get_me(studio(), current_user()))


@bp.get("/tokens")
@told("Your tokens", shapes.TokenList, query=Part)
def token_index() -> Response:
    return part_of(tokens.list_tokens(studio(), current_user()), query(Part))


@bp.post("/tokens")
@told(
    "Make a token",
    {201: Answer("The token; its secret is shown this once.", shapes.NewToken)},
    body=TokenRequest,
)
def token_create() -> Response:
    asked = body(TokenRequest)
    user, days = current_user(), asked.expires_days
    made = tokens.issue_token(studio().db, user, asked.name, days, asked.scopes)
    return answer(made, 201)


@bp.delete("/tokens")
@told("Revoke a token, by query", NOTHING, query=TokenId, errors=(NotFound,))
def token_delete_named() -> Response:
    """The same as DELETE /me/tokens/ID."""
    return token_delete(query(TokenId).id)


@bp.delete("/tokens/<token_id>")
@told("Revoke a token", NOTHING)
def token_delete(token_id: str) -> Response:
    tokens.revoke_token(studio(), current_user(), token_id)
    return nothing()
