"""/users: accounts, their quotas and what they hold. For administrators."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import Conflict
from web.api import shapes_people as shapes
from web.api.answers import answer, body, no_body, query
from web.api.describe import Answer, told
from web.requests_people import UserChange, UserRequest
from web.security import absolute, current_admin, studio
from web.services import people
from web.services.job_lists import Page

bp = Blueprint("users", __name__, url_prefix="/users")


@bp.before_request
def _admins_only() -> None:
    current_admin()


@bp.get("")
@told("Accounts, newest first", shapes.UserList, query=Page)
def index() -> Response:
    return answer(people.list_users(studio(), query(Page)))


@bp.post("")
@told(
    "Make an account",
    {201: Answer("The account with its link.", shapes.NewUser, headers=("Location",))},
    body=UserRequest,
    errors=(Conflict,),
)
def create() -> Response:
    """201 with the account and, in `link`, the one-time link that sets its password."""
    asked = body(UserRequest)
    made, path = people.create_user(studio(), current_admin(), asked.name, asked.admin)
    response = answer({**made, "link": absolute(path)}, 201)
    response.headers["Location"] = f"/api/v1/users/{made['id']}"
    return response


@bp.get("/<user_id>")
@told("One account", shapes.User)
def show(user_id: str) -> Response:
    return answer(people.get_user(studio(), user_id))


@bp.patch("/<user_id>")
@told("Change an account", shapes.User, body=UserChange, errors=(Conflict,))
def change(user_id: str) -> Response:
    return answer(people.change_user(studio(), current_admin(), user_id, body(UserChange)))


@bp.post("/<user_id>/link")
@told("Make a new link", {201: Answer("The link.", shapes.Link)}, errors=(Conflict,))
def make_link(user_id: str) -> Response:
    """201 with a new one-time link, for a password that was lost."""
    no_body()
    path = people.make_link(studio(), current_admin(), user_id)
    return answer({"link": absolute(path)}, 201)
