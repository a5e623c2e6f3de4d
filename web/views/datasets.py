"""Datasets: the list with its upload form and samples, and a page for one with some of its items."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import AppError, InvalidInput, QuotaExceeded, TooLarge
from shared.models import User
from web import forms
from web.requests import ModelChange, UploadForm, check
from web.security import current_user, studio, takes_upload
from web.services import datasets
from web.services.job_lists import Page
from web.views import media, words
from web.views.deleting import delete_or_ask

bp = Blueprint("datasets", __name__)

PICTURES_SHOWN = 60
PARTS_SHOWN = 10
TEXTS_SHOWN = 5
PAGE = "50"


@bp.get("/datasets")
def index() -> ResponseReturnValue:
    return _page()


@bp.post("/datasets")
@takes_upload
def upload() -> ResponseReturnValue:
    user = current_user()
    try:
        asked = check(UploadForm, {"name": request.form.get("name", ""), **_kind()})
        files = [(one.filename, one.stream) for one in request.files.getlist("file")]
        found = datasets.add_upload(
            studio(), user, asked.name, asked.kind, [pair for pair in files if pair[0]]
        )
    except (InvalidInput, TooLarge, QuotaExceeded) as error:
        return _page(error), error.status
    return redirect(url_for("pages.datasets.show", dataset_id=found["id"]), 303)


@bp.post("/datasets/samples")
def add_sample() -> ResponseReturnValue:
    found = datasets.add_sample(studio(), current_user(), request.form.get("sample", ""))
    return redirect(url_for("pages.datasets.show", dataset_id=found["id"]), 303)


@bp.get("/datasets/<dataset_id>")
def show(dataset_id: str) -> ResponseReturnValue:
    user = current_user()
    dataset = datasets.get_dataset(studio(), user, dataset_id)
    return render_template(
        "datasets/show.html",
        dataset=dataset,
        items=_some_items(user, dataset),
        facts=[pair for pair in words.pairs(dataset["facts"]) if pair[0] not in ("items", "bytes")],
        problems=dataset["problems"],
    )


@bp.post("/datasets/<dataset_id>")
def change(dataset_id: str) -> ResponseReturnValue:
    values = {name: request.form[name] for name in ("name", "visibility") if name in request.form}
    datasets.change_dataset(studio(), current_user(), dataset_id, check(ModelChange, values))
    flash("Saved.", "success")
    return redirect(url_for("pages.datasets.show", dataset_id=dataset_id), 303)


@bp.post("/datasets/<dataset_id>/delete")
def delete(dataset_id: str) -> ResponseReturnValue:
    user = current_user()
    return delete_or_ask(
        lambda force: datasets.delete_dataset(studio(), user, dataset_id, force),
        "The dataset is deleted.",
        url_for("pages.datasets.index"),
    )


def _kind() -> dict[str, str]:
    kind = request.form.get("kind", "")
    return {"kind": kind} if kind else {}


def _page(error: AppError | None = None) -> str:
    asked = check(Page, {"limit": PAGE, "after": request.args.get("after") or None})
    found = datasets.list_datasets(studio(), current_user(), asked)
    return render_template(
        "datasets/index.html",
        datasets=found["items"],
        next=found["next"],
        samples=datasets.samples(),
        errors=_errors(error),
        typed=request.form if error else {},
    )


def _errors(error: AppError | None) -> dict[str, str]:
    if error is None:
        return {}
    said = forms.field_errors(getattr(error, "errors", []))
    return said or {"": error.message}


def _some_items(user: User, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """The first texts, or pictures from all parts: labelled ones often lie class by class."""
    if dataset["kind"] != "images":
        items = datasets.list_items(studio(), user, dataset["id"], limit=TEXTS_SHOWN)["items"]
        return [{**one, "text": _text(user, dataset["id"], one["n"])} for one in items]
    count = dataset["items"]
    parts = PARTS_SHOWN if count > PICTURES_SHOWN else 1
    each = PICTURES_SHOWN // parts
    starts = [part * count // parts - 1 for part in range(parts)]
    runs = [datasets.list_items(studio(), user, dataset["id"], at, each) for at in starts]
    return [one for run in runs for one in run["items"]]


def _text(user: User, dataset_id: str, n: int) -> str:
    _, file = datasets.open_item(studio(), user, dataset_id, n)
    with file:
        return media.beginning(file, media.SHORT_TEXT)
