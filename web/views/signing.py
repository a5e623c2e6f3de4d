"""Coming in and going out: the first password by a one-time link, sign-in, sign-out."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.errors import InvalidInput, TooManyRequests, WrongPassword
from web import forms
from web.security import check_sign_in_allowed, end_session, start_session, studio, user_or_none
from web.services import accounts

bp = Blueprint("signing", __name__)


@bp.get("/welcome/<token>")
def welcome(token: str) -> ResponseReturnValue:
    check_sign_in_allowed()
    account = accounts.user_of_link(studio(), token)
    return render_template("account/welcome.html", account=account, errors={})


@bp.post("/welcome/<token>")
def set_first_password(token: str) -> ResponseReturnValue:
    check_sign_in_allowed()
    account = accounts.user_of_link(studio(), token)
    try:
        password = repeated_password()
        user = accounts.set_password_by_link(studio(), token, password)
    except InvalidInput as error:
        said = forms.field_errors(error.errors)
        return render_template("account/welcome.html", account=account, errors=said), 422
    start_session(user)
    flash(_("Welcome. Your password is set, and you are signed in."), "success")
    return redirect(url_for("pages.home.index"), 303)


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    if user_or_none():
        return redirect(url_for("pages.home.index"), 303)
    check_sign_in_allowed()
    onward = own_path(request.args.get("next", ""))
    return render_template("account/sign_in.html", next=onward, may_join=_may_join())


@bp.post("/sign-in")
def do_sign_in() -> ResponseReturnValue:
    check_sign_in_allowed()
    name, onward = request.form.get("name", "").strip(), own_path(request.form.get("next", ""))
    password = request.form.get("password", "")
    agent = request.user_agent.string
    try:
        user = accounts.sign_in(studio(), name, password, request.remote_addr or "", agent)
    except (WrongPassword, TooManyRequests) as error:
        page = render_template(
            "account/sign_in.html",
            next=onward,
            name=name,
            error=error.message,
            may_join=_may_join(),
        )
        return page, error.status, error.headers
    start_session(user)
    return redirect(onward or url_for("pages.home.index"), 303)


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    end_session()
    return redirect(url_for("pages.signing.sign_in"), 303)


def _may_join() -> bool:
    return studio().settings.sign_up == "open"


def own_path(address: str) -> str:
    """Where to go after signing in: a path on this server, or nothing."""
    parts = urlsplit(address.replace("\\", "/")) if address.isprintable() else None
    if not parts or parts.scheme or parts.netloc or not address.startswith("/"):
        return ""
    return "" if parts.path.startswith("//") else address


def repeated_password() -> str:
    """The new password, typed twice. Raises InvalidInput."""
    password = request.form.get("password", "")
    if request.form.get("again", "") != password:
        message = "is not the same as above"
        raise InvalidInput(errors=[{"pointer": "/again", "message": message}])
    return password
