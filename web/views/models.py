"""Models: the list, and a card with everything about one, its generation form included."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import InvalidInput, NotFound
from shared.models import User
from web import forms
from web.requests import ModelChange, check
from web.security import current_user, studio
from web.services import datasets, jobs, models
from web.services.job_lists import Page
from web.views import generate, words
from web.views.deleting import delete_or_ask

bp = Blueprint("models", __name__)


@bp.get("/models")
def index() -> ResponseReturnValue:
    values = {"limit": "24", "after": request.args.get("after") or None}
    found = models.list_models(studio(), current_user(), check(Page, values))
    return render_template("models/index.html", models=found["items"], next=found["next"])


@bp.get("/models/<model_id>")
def show(model_id: str) -> ResponseReturnValue:
    user = current_user()
    return _page(user, models.get_model(studio(), user, model_id), {})


@bp.post("/models/<model_id>")
def change(model_id: str) -> ResponseReturnValue:
    user = current_user()
    values = {name: request.form[name] for name in ("name", "visibility") if name in request.form}
    try:
        models.change_model(studio(), user, model_id, check(ModelChange, values))
    except InvalidInput as error:
        model = models.get_model(studio(), user, model_id)
        said = forms.field_errors(error.errors)
        return _page(user, {**model, **values}, said), error.status
    flash("Saved.", "success")
    return redirect(url_for("pages.models.show", model_id=model_id), 303)


@bp.post("/models/<model_id>/delete")
def delete(model_id: str) -> ResponseReturnValue:
    user = current_user()
    return delete_or_ask(
        lambda force: models.delete_model(studio(), user, model_id, force),
        "The model is deleted.",
        url_for("pages.models.index"),
    )


def _page(user: User, model: dict[str, Any], errors: dict[str, str]) -> str:
    parts = generate.form_parts(user, model)
    parts["errors"] = errors
    return render_template(
        "models/show.html",
        model=model,
        job=_job(user, model),
        dataset=_dataset(user, model),
        metrics=words.pairs(model["metrics"]),
        facts=words.pairs(model["facts"]),
        **parts,
    )


def _job(user: User, model: dict[str, Any]) -> dict[str, Any] | None:
    """None when the training is somebody else's or was deleted."""
    try:
        return jobs.get_job(studio(), user, model["job_id"]) if model["job_id"] else None
    except NotFound:
        return None


def _dataset(user: User, model: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found = model["dataset_id"]
        return datasets.get_dataset(studio(), user, found) if found else None
    except NotFound:
        return None
