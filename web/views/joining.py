"""Sign-up: the page behind an invitation, or /join where sign-up is open."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.errors import Conflict, InvalidInput, TooManyRequests
from web import forms
from web.security import check_sign_in_allowed, start_session, studio
from web.services import invitations
from web.views.signing import repeated_password

bp = Blueprint("joining", __name__)


@bp.get("/join")
@bp.get("/join/<token>")
def join(token: str | None = None) -> ResponseReturnValue:
    check_sign_in_allowed()
    invitations.check_open(studio(), token)
    return render_template("account/join.html", errors={}, typed={})


@bp.post("/join")
@bp.post("/join/<token>")
def do_join(token: str | None = None) -> ResponseReturnValue:
    check_sign_in_allowed()
    invitations.check_open(studio(), token)
    name = request.form.get("name", "").strip()
    try:
        user = invitations.join(
            studio(), token, name, repeated_password(), request.remote_addr or ""
        )
    except InvalidInput as error:
        said = forms.field_errors(error.errors)
        return render_template("account/join.html", errors=said, typed=request.form), error.status
    except (Conflict, TooManyRequests) as error:
        field = "name" if isinstance(error, Conflict) else ""
        page = render_template(
            "account/join.html", errors={field: error.message}, typed=request.form
        )
        return page, error.status, error.headers
    start_session(user)
    flash(_("Welcome. Your account is made, and you are signed in."), "success")
    return redirect(url_for("pages.home.index"), 303)
