"""What the training and the generation form share: what was typed, submitting it, what it would cost, what is wrong."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.errors import AppError, InvalidInput, NotFound
from shared.models import User
from shared.params import clean
from web import forms
from web.requests import JobRequest, check
from web.said import said
from web.security import absolute, current_user, studio
from web.services import jobs, recall
from web.services.recall import Recalled
from web.views import snippets
from web.views.names import with_titles

Schema = Mapping[str, Any]
Body = dict[str, Any]
OWN_FIELDS = ("name", "seed", "dataset_id", "nonce")


@dataclass(frozen=True)
class Given:
    """What fills a form in that nobody has typed into yet."""

    values: Mapping[str, Any]
    own: dict[str, str]
    note: str = ""
    preset: str = ""


@dataclass(frozen=True)
class Priced:
    """What the job would be: its estimate and place, the same job as text, or why it would be refused."""

    dry: dict[str, Any] | None = None
    copies: tuple[tuple[str, str, str], ...] = ()
    error: AppError | None = None


def submit(schema: Schema, asked: Body) -> ResponseReturnValue:
    """Submits the form as a job and goes to its page. Raises AppError."""
    user, body, key = current_user(), check(JobRequest, _body(schema, asked)), _key()
    done = jobs.submit_job(studio(), user, body, key)
    while done.replayed and key and _is_gone(user, done.job["id"]):
        # deleted since: the same form means a new one, and sent twice it still is one
        key = _key(after=done.job["id"])
        done = jobs.submit_job(studio(), user, body, key)
    if done.replayed:
        flash(_("This was submitted already; here it is."))
    return redirect(url_for("pages.jobs.show", job_id=done.job["id"]), 303)


def _body(schema: Schema, asked: Body) -> Body:
    """The form as the body of POST /jobs. Raises InvalidInput."""
    params, problems = forms.parse(schema, request.form)
    body: Body = {**asked, "params": params, "name": request.form.get("name", "")}
    seed = request.form.get("seed", "").strip()
    try:
        if seed:
            body["seed"] = forms.whole(seed, "/seed")
    except InvalidInput as error:
        problems += error.errors
    if problems:
        raise InvalidInput(errors=problems)
    return body


def _is_gone(user: User, job_id: str) -> bool:
    try:
        jobs.job_tag(studio(), user, job_id)
    except NotFound:
        return True
    return False


def _key(after: str = "") -> str | None:
    """The same form sent twice is one job; a form that was changed in between is another."""
    nonce = request.form.get("nonce", "")
    if not nonce:
        return None
    sent = sorted((key, value) for key, value in request.form.items() if key != "csrf_token")
    whole = (request.path, sent, after) if after else (request.path, sent)
    return "form-" + hashlib.sha256(repr(whole).encode("utf-8", "replace")).hexdigest()


# ---- what it would cost ------------------------------------------------------------------------------


def priced(schema: Schema, asked: Body) -> Priced:
    """Of the form as it was sent."""
    try:
        return _priced(_body(schema, asked))
    except AppError as error:
        return Priced(error=error)


def _priced_given(asked: Body, given: Given) -> Priced:
    """Of a form as it is first shown. What is still to be chosen is no mistake yet."""
    body: Body = {**asked, "params": dict(given.values), "name": given.own.get("name", "")}
    if given.own.get("dataset_id"):
        body["dataset_id"] = given.own["dataset_id"]
    if forms.WHOLE.fullmatch(given.own.get("seed", "")):
        body["seed"] = int(given.own["seed"])
    return _priced(body)


def _priced(body: Body) -> Priced:
    try:
        dry = jobs.submit_job(studio(), current_user(), check(JobRequest, body), dry_run=True).job
    except AppError as error:
        return Priced(error=error)
    named = {name: body[name] for name in ("seed", "name") if body.get(name) not in (None, "")}
    subject = {name: body[name] for name in ("family", "dataset_id", "model_id") if name in body}
    whole = {"kind": body["kind"], **subject, "params": dry["params"], **named}
    return Priced(dry, tuple(snippets.all_of(absolute("").rstrip("/"), whole)))


# ---- what fills it in --------------------------------------------------------------------------------


def given(action: Mapping[str, Any], recalled: Recalled | None = None) -> Given:
    """What the address asks for: an earlier job, a preset, the family's example; else the defaults. Single parameters
    in it (`params.steps=20`) go before these.
    """
    schema = action["schema"]
    found = _filled(action, recalled)
    single = forms.parse(schema, request.args)[0]
    return replace(found, values=_known(schema, {**found.values, **single}))


def _filled(action: Mapping[str, Any], recalled: Recalled | None) -> Given:
    schema = action["schema"]
    own = {name: request.args.get(name, "") for name in OWN_FIELDS}
    if recalled is None and (job_id := request.args.get("from", "")):
        recalled = recall.of_job(studio(), current_user(), job_id)
    if recalled is not None:
        return _recalled(schema, recalled, own)
    preset = request.args.get("preset", "")
    if preset == "example":
        return Given(_known(schema, action.get("example", {})), own, preset=preset)
    for one in action.get("presets", ()):
        if one["name"] == preset:
            return Given(_known(schema, one["params"]), own, preset=preset)
    return Given({}, own)


def _recalled(schema: Schema, recalled: Recalled, own: dict[str, str]) -> Given:
    use = request.args.get("use", "all")  # or prompt, seed, or remix, which is all but the seed
    values = _known(schema, recalled.params) if use != "seed" else {}
    if use == "prompt":
        values = {name: value for name, value in values.items() if name == "prompt"}
    if use in ("all", "seed") and recalled.seed is not None:
        own["seed"] = str(recalled.seed)
    if use in ("all", "remix") and recalled.dataset_id:
        own["dataset_id"] = own["dataset_id"] or recalled.dataset_id
    notes = {
        "remix": _("Filled in from an earlier job, without its seed."),
        "prompt": _("The prompt is that of an earlier job."),
        "seed": _("The seed is that of an earlier job."),
    }
    return Given(values, own, notes.get(use) or _("Filled in from an earlier job, with its seed."))


def _known(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """As far as this schema knows and takes them: a model may be narrower than the one that they are from."""
    known = schema.get("properties", {})
    values = {name: value for name, value in values.items() if name in known}
    wrong = {one["pointer"].split("/")[2] for one in clean(dict(schema), values)[1]}
    return {name: value for name, value in values.items() if name not in wrong}


# ---- the form on its page -------------------------------------------------------------------------


def parts(
    action: Mapping[str, Any],
    asked: Body,
    given: Given,
    error: AppError | None = None,
    sent: Priced | None = None,
) -> dict[str, Any]:
    """What the templates of both forms need: as it was sent (refused, or to be priced), or as it is first shown."""
    schema, fresh = action["schema"], error is None and sent is None
    priced = sent or (_priced_given(asked, given) if fresh else Priced(error=error))
    wrong = None if fresh else priced.error
    values = given.values if fresh else forms.typed(request.form)
    fields = forms.fields_of(schema, values, problems_of(wrong))
    for field in fields:
        field.error = _told(field.error, fields)
    return {
        "fields": fields,
        "typed": _typed(given.own if fresh else request.form),
        "errors": errors_of(wrong, fields),
        "given": given,
        "is_fresh": fresh,
        "presets": _presets(schema, action),
        "priced": priced,
        "panel_errors": errors_of(priced.error, fields),
        "draft": f"{current_user().id}:{request.path.removesuffix('/estimate')}",
    }


def estimate_part(schema: Schema, priced: Priced) -> str:
    """The panel alone, with what is wrong by input for the script that asked."""
    errors = errors_of(priced.error, forms.fields_of(schema, {}))
    return render_template("parts/estimate.html", priced=priced, panel_errors=errors)


def _typed(source: Mapping[str, str]) -> dict[str, str]:
    values = {name: source.get(name, "") for name in OWN_FIELDS}
    values["nonce"] = values["nonce"] or secrets.token_hex(8)
    return values


def _presets(schema: Schema, action: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{name, title, values}] with the text of every input, so that a script fills them in without the server."""
    known = schema.get("properties", {})
    found = []
    for one in action.get("presets", ()):
        if one["params"].keys() <= known.keys():
            texts = {field.input: field.value for field in forms.fields_of(schema, one["params"])}
            found.append({**one, "values": texts})
    return found


# ---- what is wrong ------------------------------------------------------------------------------------


def errors_of(error: AppError | None, fields: list[forms.Field]) -> dict[str, str]:
    """What is wrong by input; under "" what belongs to none that is on the page."""
    if error is None:
        return {}
    shown = {field.input for field in fields} | set(OWN_FIELDS)
    found = forms.field_errors(problems_of(error))
    here = {name: text for name, text in found.items() if name in shown}
    rest = [
        f"{name}: {text}" if name else text for name, text in found.items() if name not in shown
    ]
    own_words = error.message != (type(error).__doc__ or "").strip().splitlines()[0]
    if rest or not here:
        here[""] = error.message if own_words or not rest else " ".join(rest)
    return {name: _told(text, fields) for name, text in here.items()}


def _told(text: str, fields: list[forms.Field]) -> str:
    """In the words of the form."""
    return with_titles(said(text), {field.name: field.label for field in fields})


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
