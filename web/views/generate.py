"""New generation: the form drawn from a model's own schema, with pictures and texts to refer to."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from shared.errors import AppError, NotFound
from shared.models import User
from web import forms
from web.security import current_user, studio
from web.services import datasets, families, jobs, models, results
from web.views import job_forms, media

bp = Blueprint("generate", __name__)

RECENT_JOBS = 8
MOST_CHOICES = 24

Model = dict[str, Any]


@bp.get("/generate/<model_id>")
def new(model_id: str) -> ResponseReturnValue:
    return _page(models.get_model(studio(), current_user(), model_id))


@bp.post("/generate/<model_id>")
def submit(model_id: str) -> ResponseReturnValue:
    model = models.get_model(studio(), current_user(), model_id)
    try:
        asked = {"kind": "generate", "model_id": model["id"]}
        return job_forms.submit(model["generate_schema"], asked)
    except AppError as error:
        return _page(model, job_forms.refused(error)), error.status


def _page(model: Model, error: AppError | None = None) -> str:
    parts = form_parts(current_user(), model, error)
    return render_template(
        "generate/new.html", model=model, preset=request.args.get("preset"), **parts
    )


def form_parts(user: User, model: Model, error: AppError | None = None) -> dict[str, Any]:
    """What generate/form.html needs; the model's page shows the same form."""
    values = _recipe(user, model) if "from" in request.args else _example(model)
    fields = job_forms.drawn(model["generate_schema"], values, error)
    return {
        "fields": fields,
        "choices": _choices(user, model, fields),
        "typed": job_forms.typed(),
        "errors": job_forms.errors_of(error, fields),
    }


def _recipe(user: User, model: Model) -> dict[str, Any]:
    """The parameters of the result that the address names, as far as this model knows them."""
    found = results.get_result(studio(), user, request.args["from"])
    known = model["generate_schema"].get("properties", {})
    return {name: value for name, value in found["params"].items() if name in known}


def _example(model: Model) -> dict[str, Any]:
    """The family's example, as far as this model knows its parameters."""
    try:
        family = families.get_family(studio(), model["family"])
    except NotFound:
        return {}
    known = model["generate_schema"].get("properties", {})
    example = family["actions"].get("generate", {}).get("example", {})
    return {name: value for name, value in example.items() if name in known}


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
