"""New training: choose a family, fill in the form drawn from its schema."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from shared.errors import AppError, NotFound
from web.security import current_user, studio
from web.services import datasets, families
from web.services.job_lists import Page
from web.views import job_forms

bp = Blueprint("train", __name__)


@bp.get("/train")
def index() -> ResponseReturnValue:
    user, dataset_id = current_user(), request.args.get("dataset_id")
    dataset = datasets.get_dataset(studio(), user, dataset_id) if dataset_id else None
    found = [
        family
        for family in families.list_families(studio())
        if "train" in family["actions"]
        and (dataset is None or family["dataset_kind"] == dataset["kind"])
    ]
    return render_template("train/index.html", families=found, dataset=dataset)


@bp.get("/train/<family>")
def new(family: str) -> ResponseReturnValue:
    current_user()
    return _page(_family(family))


@bp.post("/train/<family>")
def submit(family: str) -> ResponseReturnValue:
    current_user()
    found = _family(family)
    asked: dict[str, Any] = {"kind": "train", "family": found["name"]}
    if dataset_id := request.form.get("dataset_id"):
        asked["dataset_id"] = dataset_id
    try:
        return job_forms.submit(found["actions"]["train"]["schema"], asked)
    except AppError as error:
        return _page(found, job_forms.refused(error)), error.status


def _family(name: str) -> dict[str, Any]:
    found = families.get_family(studio(), name)
    if "train" not in found["actions"]:
        raise NotFound()
    return found


def _page(family: dict[str, Any], error: AppError | None = None) -> str:
    action = family["actions"]["train"]
    fields = job_forms.drawn(action["schema"], action["example"], error)
    ready = [
        one
        for one in datasets.list_datasets(studio(), current_user(), Page(limit=200))["items"]
        if one["state"] == "ready" and one["kind"] == family["dataset_kind"]
    ]
    typed = job_forms.typed()
    if len(ready) == 1 and not typed["dataset_id"]:
        typed["dataset_id"] = ready[0]["id"]
    return render_template(
        "train/new.html",
        family=family,
        fields=fields,
        datasets=ready,
        typed=typed,
        errors=job_forms.errors_of(error, fields),
        preset=request.args.get("preset"),
    )
