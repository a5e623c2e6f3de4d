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

MOST_DATASETS = 200


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
    try:
        return job_forms.submit(found["actions"]["train"]["schema"], _asked(found))
    except AppError as error:
        return _page(found, job_forms.refused(error)), error.status


@bp.post("/train/<family>/estimate")
def estimate(family: str) -> ResponseReturnValue:
    """What the form as it stands would cost: the part of the page that says so, or the whole page."""
    current_user()
    found = _family(family)
    schema = found["actions"]["train"]["schema"]
    priced = job_forms.priced(schema, _asked(found))
    if "part" in request.args:
        return job_forms.estimate_part(schema, priced)
    return _page(found, priced=priced)


def _asked(family: dict[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {"kind": "train", "family": family["name"]}
    if dataset_id := request.form.get("dataset_id"):
        asked["dataset_id"] = dataset_id
    return asked


def _family(name: str) -> dict[str, Any]:
    found = families.get_family(studio(), name)
    if "train" not in found["actions"]:
        raise NotFound()
    return found


def _page(
    family: dict[str, Any],
    error: AppError | None = None,
    priced: job_forms.Priced | None = None,
) -> str:
    given = job_forms.given(family["actions"]["train"])
    chosen = request.form.get("dataset_id", "") or given.own["dataset_id"]
    ready = _datasets(family, chosen)
    if len(ready) == 1 and not given.own["dataset_id"]:
        given.own["dataset_id"] = ready[0]["id"]
    asked = {"kind": "train", "family": family["name"]}
    return render_template(
        "train/new.html",
        family=family,
        datasets=ready,
        **job_forms.parts(family["actions"]["train"], asked, given, error, priced),
    )


def _datasets(family: dict[str, Any], chosen: str) -> list[dict[str, Any]]:
    """The newest that are ready, and the chosen one however old it is."""
    page = Page(limit=MOST_DATASETS)
    found = list(datasets.list_datasets(studio(), current_user(), page)["items"])
    if chosen and all(one["id"] != chosen for one in found):
        try:
            found.append(datasets.get_dataset(studio(), current_user(), chosen))
        except NotFound:
            pass
    return [
        one for one in found if one["state"] == "ready" and one["kind"] == family["dataset_kind"]
    ]
