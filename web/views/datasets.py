"""Datasets: the list with its upload form and samples, and a page for one with some of its items."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import AppError, InvalidInput, NotFound, QuotaExceeded, TooLarge
from shared.models import User
from web import forms
from web.requests import ModelChange, UploadForm, check
from web.security import current_user, studio, takes_upload
from web.services import dataset_previews, datasets
from web.services.job_lists import Page
from web.views import media, words
from web.views.deleting import delete_or_ask

bp = Blueprint("datasets", __name__)

ITEMS_SHOWN = 24
LABELS_SHOWN = 20
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
        partial = request.form.get("accept_partial", "")
        fields = {"name": request.form.get("name", ""), "accept_partial": partial, **_kind()}
        asked = check(UploadForm, fields)
        files = [(one.filename, one.stream) for one in request.files.getlist("file")]
        files = [pair for pair in files if pair[0]]
        found = datasets.add_upload(studio(), user, asked.name, asked.kind, files, asked.partial)
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
    preview = _preview(user, dataset)
    return render_template(
        "datasets/show.html",
        dataset=dataset,
        items=_some_items(user, dataset, preview),
        counts=_counts(preview),
        facts=[pair for pair in words.pairs(dataset["facts"]) if pair[0] not in ("items", "bytes")],
        problems=dataset["problems"],
    )


@bp.post("/datasets/<dataset_id>")
def change(dataset_id: str) -> ResponseReturnValue:
    values = {name: request.form[name] for name in ("name", "visibility") if name in request.form}
    datasets.change_dataset(studio(), current_user(), dataset_id, check(ModelChange, values))
    flash("Saved.", "success")
    return redirect(url_for("pages.datasets.show", dataset_id=dataset_id), 303)


@bp.post("/datasets/<dataset_id>/accept")
def accept(dataset_id: str) -> ResponseReturnValue:
    datasets.accept_as_it_is(studio(), current_user(), dataset_id)
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


def _preview(user: User, dataset: dict[str, Any]) -> dict[str, Any]:
    """What the check counted; nothing before it has ended."""
    try:
        return dataset_previews.preview(studio(), user, dataset["id"])[0]
    except NotFound:
        return {}


def _counts(preview: dict[str, Any]) -> list[tuple[str, list[tuple[str, int]], int]]:
    """(title, bars, longest) of the labels and of each size that differs."""
    labels = [(one["label"], one["items"]) for one in preview.get("labels", ())][:LABELS_SHOWN]
    found = [("Labels", labels)] if len(labels) > 1 else []
    for name, size in preview.get("sizes", {}).items():
        if size["min"] != size["max"]:
            bars = [(_range(part), part["items"]) for part in size["histogram"]]
            found.append((name.capitalize(), bars))
    return [(title, bars, max(count for _, count in bars)) for title, bars in found]


def _range(part: dict[str, int]) -> str:
    low, high = part["from"], part["to"]
    return f"{low:,}" if low == high else f"{low:,} – {high:,}"


def _some_items(
    user: User, dataset: dict[str, Any], preview: dict[str, Any]
) -> list[dict[str, Any]]:
    """Samples from all parts: labelled pictures often lie class by class."""
    items = preview.get("samples")
    if items is None:
        items = datasets.list_items(studio(), user, dataset["id"], limit=ITEMS_SHOWN)["items"]
    if dataset["kind"] == "images":
        return list(items)
    several = items[:: max(1, len(items) // TEXTS_SHOWN)][:TEXTS_SHOWN]
    return [{**one, "text": _text(user, dataset["id"], one["n"])} for one in several]


def _text(user: User, dataset_id: str, n: int) -> str:
    _, file = datasets.open_item(studio(), user, dataset_id, n)
    with file:
        return media.beginning(file, media.SHORT_TEXT)
