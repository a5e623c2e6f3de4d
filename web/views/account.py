"""One's own account: password, signed-in browsers, API tokens."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from shared.errors import InvalidInput, WrongPassword
from web import forms, language
from web.requests import SCOPES, TokenRequest, check
from web.security import browser_session, current_user, start_session, studio
from web.services import accounts, queue, sessions, tokens
from web.views.quota_bars import bars
from web.views.signing import repeated_password

bp = Blueprint("account", __name__)

Errors = dict[str, str]

# what a token with this scope may do
SCOPE_WORDS = {
    "jobs:read": _l("see jobs, their results and the queue"),
    "jobs:write": _l("submit, change and delete jobs"),
    "datasets:read": _l("see and download datasets"),
    "datasets:write": _l("upload, change and delete datasets"),
    "models:read": _l("see and download models"),
    "models:write": _l("rename, share and delete models"),
    "admin": _l("what administrators may do"),
}


@bp.get("/account")
def show() -> ResponseReturnValue:
    return _page()


@bp.post("/account/password")
def change_password() -> ResponseReturnValue:
    user = current_user()
    try:
        password, address = repeated_password(), request.remote_addr or ""
        accounts.change_password(studio(), user, request.form.get("old", ""), password, address)
    except InvalidInput as error:
        return _page(errors=forms.field_errors(error.errors)), error.status
    except WrongPassword as error:
        return _page(errors={"old": error.message}), 422
    start_session(user)
    flash(_("The password is changed. Every other browser is signed out."), "success")
    return redirect(url_for("pages.account.show"), 303)


@bp.post("/account/tokens")
def create_token() -> ResponseReturnValue:
    user, days = current_user(), request.form.get("expires_days", "").strip()
    scopes = request.form.getlist("scopes")
    values: dict[str, Any] = {"name": request.form.get("name", ""), "scopes": scopes}
    try:
        if days:
            values["expires_days"] = forms.whole(days, "/expires_days")
        asked = check(TokenRequest, values)
        fresh = tokens.issue_token(studio().db, user, asked.name, asked.expires_days, asked.scopes)
    except InvalidInput as error:
        return _page(errors=forms.field_errors(error.errors)), error.status
    # shown in this answer only: a redirect would have to keep the secret somewhere
    return _page(fresh_token=fresh), 201


@bp.post("/account/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> ResponseReturnValue:
    tokens.revoke_token(studio(), current_user(), token_id)
    flash(_("The token is revoked."), "success")
    return redirect(url_for("pages.account.show"), 303)


@bp.post("/account/sessions/<session_id>/revoke")
def revoke_session(session_id: str) -> ResponseReturnValue:
    sessions.revoke_session(studio(), current_user(), session_id)
    flash(_("That browser is signed out."), "success")
    return redirect(url_for("pages.account.show"), 303)


@bp.post("/account/sessions/revoke")
def revoke_other_sessions() -> ResponseReturnValue:
    count = sessions.revoke_others(studio(), current_user(), browser_session().row_id)
    said = ngettext("%(num)s browser is signed out.", "%(num)s browsers are signed out.", count)
    flash(said, "success")
    return redirect(url_for("pages.account.show"), 303)


@bp.post("/account/language")
def set_language() -> ResponseReturnValue:
    wanted = request.form.get("language", "")
    wanted = wanted if wanted in language.LANGUAGES else ""
    accounts.set_language(studio(), current_user(), wanted)
    flash(_("Saved."), "success")
    answer = redirect(url_for("pages.account.show"), 303)
    answer.delete_cookie(language.LANGUAGE_COOKIE, samesite="Lax")
    return answer


def _page(errors: Errors | None = None, fresh_token: dict[str, Any] | None = None) -> str:
    user = current_user()
    me = queue.get_me(studio(), user)
    return render_template(
        "account/show.html",
        bars=bars(me["quota"], me["use"]),
        scopes=[
            (scope, SCOPE_WORDS[scope])
            for scope in SCOPES
            if scope != "admin" or user.role == "admin"
        ],
        language_choices=[(key, names[1]) for key, names in language.LANGUAGES.items()],
        tokens=tokens.list_tokens(studio(), user),
        sessions=sessions.list_sessions(studio(), user, browser_session().row_id),
        errors=errors or {},
        typed=request.form if errors else {},
        fresh_token=fresh_token,
    )
