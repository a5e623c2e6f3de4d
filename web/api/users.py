"""/users: accounts, their quotas and what they hold. For administrators."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.answers import answer, body, no_body, query
from web.requests_people import UserChange, UserRequest
from web.security import absolute, current_admin, studio
from web.services import people
from web.services.job_lists import Page

bp = Blueprint("users", __name__, url_prefix="/users")


@bp.before_request
def _admins_only() -> None:
    current_admin()


@bp.get("")
def index() -> Response:
    return answer(people.list_users(studio(), query(Page)))


@bp.post("")
def create() -> Response:
    """201 with the account and, in `link`, the one-time link that sets its password."""
    asked = body(UserRequest)
    made, path = people.create_user(studio(), current_admin(), asked.name, asked.admin)
    response = answer({**made, "link": absolute(path)}, 201)
    response.headers["Location"] = f"/api/v1/users/{made['id']}"
    return response


@bp.get("/<user_id>")
def show(user_id: str) -> Response:
    return answer(people.get_user(studio(), user_id))


@bp.patch("/<user_id>")
def change(user_id: str) -> Response:
    return answer(people.change_user(studio(), current_admin(), user_id, body(UserChange)))


@bp.post("/<user_id>/link")
def make_link(user_id: str) -> Response:
    """201 with a new one-time link, for a password that was lost."""
    no_body()
    path = people.make_link(studio(), current_admin(), user_id)
    return answer({"link": absolute(path)}, 201)
