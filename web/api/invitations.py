"""/invitations: links with which people make accounts of their own. For administrators."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import Conflict
from web.api import shapes_people as shapes
from web.api.answers import answer, body, nothing, query
from web.api.describe import NOTHING, Answer, told
from web.requests_people import InvitationRequest
from web.security import absolute, current_admin, studio
from web.services import invitations
from web.services.job_lists import Page

bp = Blueprint("invitations", __name__, url_prefix="/invitations")


@bp.before_request
def _admins_only() -> None:
    current_admin()


@bp.get("")
@told("Invitations, newest first", shapes.InvitationList, query=Page)
def index() -> Response:
    return answer(invitations.list_invitations(studio(), query(Page)))


@bp.post("")
@told(
    "Invite somebody",
    {201: Answer("The invitation with its link.", shapes.NewInvitation)},
    body=InvitationRequest,
    errors=(Conflict,),
)
def create() -> Response:
    """201 with the invitation and, in `link`, the link to hand out: it cannot be read again."""
    made, path = invitations.invite(studio(), current_admin(), body(InvitationRequest))
    return answer({**made, "link": absolute(path)}, 201)


@bp.delete("/<invitation_id>")
@told("Take an invitation back", NOTHING)
def revoke(invitation_id: str) -> Response:
    invitations.revoke(studio(), current_admin(), invitation_id)
    return nothing()
