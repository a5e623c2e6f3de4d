"""New generation: the form drawn from a model's own schema, with pictures and texts to refer to."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.errors import AppError, InvalidInput, NotFound
from shared.models import User
from web import forms
from web.requests import check
from web.said import said
from web.security import current_user, studio, takes_file
from web.services import datasets, families, jobs, models, recall
from web.services.recall import Recalled
from web.views import job_forms, media

bp = Blueprint("generate", __name__)

RECENT_JOBS = 8
MOST_CHOICES = 24
MODELS_SHOWN = 48
RECALL_BYTES = 64 << 20  # of a result

Model = dict[str, Any]


@bp.get("/generate")
def index() -> ResponseReturnValue:
    """Choose a model."""
    asked = {name: request.args.get(name, "").strip() or None for name in ("after", "q")}
    wanted = check(models.Filters, {"limit": str(MODELS_SHOWN), **asked})
    found = models.list_models(studio(), current_user(), wanted)
    return render_template(
        "generate/index.html",
        models=found["items"],
        next=found["next"],
        q=wanted.q or "",
        pictures=models.pictures_of(studio(), found["items"]),
    )


@bp.get("/generate/<model_id>")
def new(model_id: str) -> ResponseReturnValue:
    return _page(models.get_model(studio(), current_user(), model_id))


@bp.post("/generate/<model_id>")
def submit(model_id: str) -> ResponseReturnValue:
    model = models.get_model(studio(), current_user(), model_id)
    try:
        return job_forms.submit(model["generate_schema"], _asked(model))
    except AppError as error:
        return _page(model, job_forms.refused(error)), error.status


@bp.post("/generate/<model_id>/estimate")
def estimate(model_id: str) -> ResponseReturnValue:
    """What the form as it stands would cost: the part of the page that says so, or the whole page."""
    model = models.get_model(studio(), current_user(), model_id)
    priced = job_forms.priced(model["generate_schema"], _asked(model))
    if "part" in request.args:
        return job_forms.estimate_part(model["generate_schema"], priced)
    return _page(model, priced=priced)


@bp.post("/recall")
@takes_file(RECALL_BYTES)
def restore() -> ResponseReturnValue:
    """From a result that was downloaded here to the form that it was made by, filled in."""
    user, file = current_user(), request.files.get("file")
    try:
        if file is None or not file.filename:
            raise InvalidInput(errors=[{"pointer": "/file", "message": "is required"}])
        found = recall.of_file(studio(), user, file.stream)
    except InvalidInput as error:
        flash(_("This file %(problem)s.", problem=said(error.errors[0]["message"])), "warning")
        return redirect(_back(request.form.get("back", "")), 303)
    if found.job_id:
        form = (
            url_for("pages.train.new", family=found.subject)
            if found.kind == "train"
            else url_for("pages.generate.new", model_id=found.subject)
        )
        return redirect(f"{form}?from={found.job_id}", 303)
    # no job of ours to name in an address
    return _page(models.get_model(studio(), user, found.subject), recalled=found)


def _back(path: str) -> str:
    """Where the file was dropped; never out of here."""
    known = ("/train/", "/generate/", "/models/")
    sound = path.startswith(known) and not set(path) & set("\\\r\n") and "//" not in path
    return path if sound else url_for("pages.generate.index")


def _asked(model: Model) -> dict[str, Any]:
    return {"kind": "generate", "model_id": model["id"]}


def _page(
    model: Model,
    error: AppError | None = None,
    priced: job_forms.Priced | None = None,
    recalled: Recalled | None = None,
) -> str:
    parts = form_parts(current_user(), model, error, priced, recalled)
    return render_template("generate/new.html", model=model, **parts)


def form_parts(
    user: User,
    model: Model,
    error: AppError | None = None,
    priced: job_forms.Priced | None = None,
    recalled: Recalled | None = None,
) -> dict[str, Any]:
    """What generate/form.html needs; the model's page shows the same form."""
    action = {**_action(model), "schema": model["generate_schema"]}
    given = job_forms.given(action, recalled)
    parts = job_forms.parts(action, _asked(model), given, error, priced)
    # the same draft wherever the form is shown
    draft = f"{user.id}:{url_for('pages.generate.new', model_id=model['id'])}"
    return {**parts, "draft": draft, "choices": _choices(user, model, parts["fields"])}


def _action(model: Model) -> dict[str, Any]:
    """The family's example and presets, while it is known here."""
    try:
        family = families.get_family(studio(), model["family"])
    except NotFound:
        return {}
    return dict(family["actions"].get("generate", {}))


def _choices(user: User, model: Model, fields: list[forms.Field]) -> list[dict[str, Any]]:
    """Recent results, then items of the dataset that the model learnt from."""
    wanted = {field.ref for field in fields if field.kind == "ref"}
    if not wanted:
        return []
    found = [choice for choice in _recent(user) if choice["kind"] in wanted]
    if model["dataset_id"]:
        found += [choice for choice in _items(user, model) if choice["kind"] in wanted]
    return found[:MOST_CHOICES]


def _recent(user: User) -> list[dict[str, Any]]:
    filters = jobs.Filters(state="succeeded", kind="generate", limit=RECENT_JOBS)
    made = jobs.list_jobs(studio(), user, filters)["items"]
    artifacts = [one for job in made for one in job["result"]["artifacts"]]
    return [media.choice_of_artifact(one) for one in artifacts[: MOST_CHOICES // 2]]


def _items(user: User, model: Model) -> list[dict[str, Any]]:
    try:
        found = datasets.list_items(studio(), user, model["dataset_id"])
    except NotFound:
        return []
    return [media.choice_of_item(model["dataset_id"], one) for one in found["items"]]
