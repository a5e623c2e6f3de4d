"""What the training and the generation form share: what was typed, submitting it, saying what is wrong."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import AppError, InvalidInput
from web import forms
from web.requests import JobRequest, check
from web.security import current_user, studio
from web.services import jobs

Schema = Mapping[str, Any]
OWN_FIELDS = ("name", "seed", "dataset_id", "nonce")


def submit(schema: Schema, asked: dict[str, Any]) -> ResponseReturnValue:
    """Submits the form as a job and goes to its page. Raises AppError."""
    params, problems = forms.parse(schema, request.form)
    body: dict[str, Any] = {**asked, "params": params, "name": request.form.get("name", "")}
    seed = request.form.get("seed", "").strip()
    try:
        if seed:
            body["seed"] = forms.whole(seed, "/seed")
    except InvalidInput as error:
        problems += error.errors
    if problems:
        raise InvalidInput(errors=problems)
    done = jobs.submit_job(studio(), current_user(), check(JobRequest, body), _key())
    if done.replayed:
        flash("This was submitted already; here it is.")
    return redirect(url_for("pages.jobs.show", job_id=done.job["id"]), 303)


def _key() -> str | None:
    """The same form sent twice is one job; a form that was changed in between is another."""
    nonce = request.form.get("nonce", "")
    if not nonce:
        return None
    said = sorted((key, value) for key, value in request.form.items() if key != "csrf_token")
    return (
        "form-" + hashlib.sha256(repr((request.path, said)).encode("utf-8", "replace")).hexdigest()
    )


def typed() -> dict[str, str]:
    """What the form's own fields hold: after a refusal what was typed, at first what the address says."""
    source = request.form if request.method == "POST" else request.args
    values = {name: source.get(name, "") for name in OWN_FIELDS}
    values["nonce"] = values["nonce"] or secrets.token_hex(8)
    return values


def drawn(schema: Schema, example: Mapping[str, Any], error: AppError | None) -> list[forms.Field]:
    """The fields: as typed when refused, from the example or a result when asked for, else the defaults."""
    values: Mapping[str, Any] = {}
    if error is not None:
        values = forms.typed(request.form)
    elif request.args.get("preset") == "example" or "from" in request.args:
        values = example
    return forms.fields_of(schema, values, problems_of(error))


def errors_of(error: AppError | None, fields: list[forms.Field]) -> dict[str, str]:
    """What is wrong by input; under "" what belongs to none that is on the page."""
    if error is None:
        return {}
    shown = {field.input for field in fields} | set(OWN_FIELDS)
    said = forms.field_errors(problems_of(error))
    here = {name: text for name, text in said.items() if name in shown}
    rest = [f"{name}: {text}" if name else text for name, text in said.items() if name not in shown]
    own_words = error.message != (type(error).__doc__ or "").strip().splitlines()[0]
    if rest or not here:
        here[""] = error.message if own_words or not rest else " ".join(rest)
    return here


def problems_of(error: AppError | None) -> list[dict[str, str]]:
    if error is None:
        return []
    found: list[dict[str, str]] = getattr(error, "errors", None) or error.facts.get("errors", [])
    return found


def refused(error: AppError) -> AppError:
    """Back to the form with it, unless the form cannot mend it."""
    if error.status == 401 or (error.status >= 500 and error.status != 507):
        raise error
    return error
