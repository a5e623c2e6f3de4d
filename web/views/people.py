"""The administrators' pages: accounts, one account with its quotas, invitations."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.errors import Conflict, InvalidInput
from web import forms
from web.requests import check
from web.requests_people import InvitationRequest, UserChange, UserRequest
from web.security import absolute, current_admin, studio
from web.services import invitations, people
from web.services.job_lists import Page
from web.views.quota_bars import bars

bp = Blueprint("people", __name__)

DECIMAL = re.compile(r"[0-9]{1,10}([.][0-9]{1,6})?")


def decimal(text: str, pointer: str) -> float:
    """Raises InvalidInput."""
    if not DECIMAL.fullmatch(text):
        raise InvalidInput(errors=[{"pointer": pointer, "message": "must be a number"}])
    return float(text)


# how a field of a form becomes a value: the form's numbers are texts
NUMBERS: dict[str, Callable[[str, str], Any]] = {
    "max_queued_jobs": forms.whole,
    "max_running_jobs": forms.whole,
    "max_storage_bytes": forms.whole,
    "max_device_seconds_a_day": decimal,
}


@bp.before_request
def _admins_only() -> None:
    current_admin()


@bp.get("/people")
def index() -> ResponseReturnValue:
    return _index()


@bp.post("/people")
def create() -> ResponseReturnValue:
    values = {
        "name": request.form.get("name", "").strip(),
        "admin": request.form.get("admin") == "1",
    }
    try:
        asked = check(UserRequest, values)
        made, path = people.create_user(studio(), current_admin(), asked.name, asked.admin)
    except InvalidInput as error:
        return _index(errors=forms.field_errors(error.errors)), error.status
    except Conflict as error:
        return _index(errors={"name": error.message}), error.status
    # shown in this answer only: a redirect would have to keep the secret somewhere
    return _index(link=absolute(path), whom=made["name"]), 201


@bp.get("/people/<user_id>")
def show(user_id: str) -> ResponseReturnValue:
    return _one(user_id)


@bp.post("/people/<user_id>")
def change(user_id: str) -> ResponseReturnValue:
    try:
        asked = check(UserChange, _changes())
        people.change_user(studio(), current_admin(), user_id, asked)
    except InvalidInput as error:
        return _one(user_id, errors=_by_field(error)), error.status
    except Conflict as error:
        return _one(user_id, errors={"": error.message}), error.status
    flash(_("Saved."), "success")
    return redirect(url_for("pages.people.show", user_id=user_id), 303)


@bp.post("/people/<user_id>/link")
def make_link(user_id: str) -> ResponseReturnValue:
    try:
        path = people.make_link(studio(), current_admin(), user_id)
    except Conflict as error:
        return _one(user_id, errors={"": error.message}), error.status
    return _one(user_id, link=absolute(path)), 201


@bp.post("/people/invitations")
def invite() -> ResponseReturnValue:
    try:
        values: dict[str, Any] = {"note": request.form.get("note", "")}
        for name in ("uses", "expires_days"):
            if text := request.form.get(name, "").strip():
                values[name] = forms.whole(text, f"/{name}")
        asked = check(InvitationRequest, values)
        _, path = invitations.invite(studio(), current_admin(), asked)
    except InvalidInput as error:
        return _index(errors=forms.field_errors(error.errors)), error.status
    except Conflict as error:
        return _index(errors={"note": error.message}), error.status
    return _index(link=absolute(path), whom=""), 201


@bp.post("/people/invitations/<invitation_id>/revoke")
def revoke(invitation_id: str) -> ResponseReturnValue:
    invitations.revoke(studio(), current_admin(), invitation_id)
    flash(_("The invitation is taken back."), "success")
    return redirect(url_for("pages.people.index"), 303)


def _changes() -> dict[str, Any]:
    """Whichever of the page's forms was sent: each has its own fields."""
    form = request.form
    values: dict[str, Any] = {}
    if "active" in form:
        values["active"] = form["active"] == "1"
    if "role" in form:
        values["role"] = form["role"]
    if "weight" in form:
        values["weight"] = decimal(form["weight"].strip(), "/weight")
    quota: dict[str, Any] = {}
    for name, read in NUMBERS.items():
        if name in form:
            text = form[name].strip()
            quota[name] = read(text, f"/quota/{name}") if text else None
    if quota:
        values["quota"] = quota
    return values


def _by_field(error: InvalidInput) -> dict[str, str]:
    """The page's fields have no `quota` before their names."""
    short = [{**one, "pointer": one["pointer"].replace("/quota/", "/")} for one in error.errors]
    return forms.field_errors(short)


def _index(errors: dict[str, str] | None = None, link: str = "", whom: str = "") -> str:
    page = check(Page, {"limit": "50", "after": request.args.get("after") or None})
    found = people.list_users(studio(), page)
    return render_template(
        "people/index.html",
        users=found["items"],
        next=found["next"],
        invitations=invitations.list_invitations(studio())["items"],
        sign_up=studio().settings.sign_up,
        errors=errors or {},
        typed=request.form if errors else {},
        link=link,
        whom=whom,
    )


def _one(user_id: str, errors: dict[str, str] | None = None, link: str = "") -> str:
    user = people.get_user(studio(), user_id)
    return render_template(
        "people/show.html",
        user=user,
        bars=bars(user["limits"], user["use"]),
        errors=errors or {},
        typed=request.form if errors else {},
        link=link,
    )
