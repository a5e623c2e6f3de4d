"""Datasets: the list with its upload form and samples, and a page for one with some of its items."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from shared.errors import AppError, Conflict, InvalidInput, NotFound, StorageFull, TooLarge
from shared.models import User
from web import forms
from web.queries import ItemsAfter
from web.requests import ModelChange, UploadForm, UploadsRequest, check
from web.security import current_user, studio, takes_upload
from web.services import dataset_previews, datasets, models, uploads
from web.services.job_lists import Page
from web.views import histograms, media, numbers, words
from web.views.advice import advice
from web.views.deleting import delete_or_ask

bp = Blueprint("datasets", __name__)

ITEMS_SHOWN = 24
LABELS_SHOWN = 20
TEXTS_SHOWN = 5
MODELS_SHOWN = 10
PAGE = "50"
PICTURES_A_PAGE, TEXTS_A_PAGE = 120, 20
MEASURES = {
    "bytes": _l("Items by size in bytes"),
    "characters": _l("Items by number of characters"),
    "lines": _l("Items by number of lines"),
    "width": _l("Items by width"),
    "height": _l("Items by height"),
}
# labels as bars side by side; more or longer ones stand below each other
FEW_LABELS, SHORT_LABEL = 12, 6


@bp.get("/datasets")
def index() -> ResponseReturnValue:
    return _page()


@bp.post("/datasets")
@takes_upload
def upload() -> ResponseReturnValue:
    try:
        found = _finished() if "uploads" in request.form else _uploaded()
    except (InvalidInput, TooLarge, Conflict, StorageFull) as error:
        return _page(error), error.status
    return redirect(url_for("pages.datasets.show", dataset_id=found["id"]), 303)


def _uploaded() -> dict[str, Any]:
    """Files in the form itself: what a browser without a script sends."""
    fields = {"name": request.form.get("name", ""), "accept_partial": _partial(), **_kind()}
    asked = check(UploadForm, fields)
    files = [(one.filename, one.stream) for one in request.files.getlist("file") if one.filename]
    user = current_user()
    return datasets.add_upload(studio(), user, asked.name, asked.kind, files, asked.partial)


def _finished() -> dict[str, Any]:
    """Files that js/upload.js has sent piece by piece before."""
    fields = {
        "uploads": request.form.getlist("uploads"),
        "name": request.form.get("name", ""),
        "accept_partial": _partial() == "1",
        **_kind(),
    }
    asked = check(UploadsRequest, fields)
    return datasets.add_finished(
        studio(), current_user(), asked.name, asked.kind, asked.uploads, asked.accept_partial
    )


@bp.post("/datasets/uploads/<upload_id>/delete")
def forget_upload(upload_id: str) -> ResponseReturnValue:
    uploads.remove(studio(), current_user(), upload_id)
    flash(_("The upload is deleted."), "success")
    return redirect(url_for("pages.datasets.index"), 303)


@bp.post("/datasets/samples")
def add_sample() -> ResponseReturnValue:
    found = datasets.add_sample(studio(), current_user(), request.form.get("sample", ""))
    return redirect(url_for("pages.datasets.show", dataset_id=found["id"]), 303)


@bp.get("/datasets/<dataset_id>")
def show(dataset_id: str) -> ResponseReturnValue:
    return _one(datasets.get_dataset(studio(), current_user(), dataset_id))


@bp.get("/datasets/<dataset_id>/items")
def all_items(dataset_id: str) -> ResponseReturnValue:
    user = current_user()
    dataset = datasets.get_dataset(studio(), user, dataset_id)
    after = check(ItemsAfter, {"after": request.args["after"]} if "after" in request.args else {})
    limit = PICTURES_A_PAGE if dataset["kind"] == "images" else TEXTS_A_PAGE
    found = datasets.list_items(studio(), user, dataset_id, after.after, limit)
    items = _with_texts(user, dataset, found["items"])
    return render_template("datasets/all.html", dataset=dataset, items=items, next=found["next"])


@bp.post("/datasets/<dataset_id>")
def change(dataset_id: str) -> ResponseReturnValue:
    user = current_user()
    values = {name: request.form[name] for name in ("name", "visibility") if name in request.form}
    try:
        datasets.change_dataset(studio(), user, dataset_id, check(ModelChange, values))
    except InvalidInput as error:
        dataset = datasets.get_dataset(studio(), user, dataset_id)
        return _one(dataset, forms.field_errors(error.errors)), error.status
    flash(_("Saved."), "success")
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
        _("The dataset is deleted."),
        url_for("pages.datasets.index"),
    )


def _partial() -> str:
    return request.form.get("accept_partial", "")


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
        unfinished=uploads.list_uploads(studio(), current_user())["items"],
        errors=_errors(error),
        typed=request.form if error else {},
    )


def _errors(error: AppError | None) -> dict[str, str]:
    if error is None:
        return {}
    said = forms.field_errors(getattr(error, "errors", []))
    # uploads that came before are no field that people see
    return {
        "file" if name.startswith("uploads") else name: text for name, text in said.items()
    } or {"": error.message}


def _preview(user: User, dataset: dict[str, Any]) -> dict[str, Any]:
    """What the check counted; nothing before it has ended."""
    try:
        return dataset_previews.preview(studio(), user, dataset["id"])[0]
    except NotFound:
        return {}


def _one(dataset: dict[str, Any], errors: dict[str, str] | None = None) -> str:
    user = current_user()
    preview = _preview(user, dataset)
    drawn, counts = _spread(preview)
    return render_template(
        "datasets/show.html",
        dataset=dataset,
        items=_some_items(user, dataset, preview),
        histograms=drawn,
        counts=counts,
        facts=[pair for pair in words.pairs(dataset["facts"]) if pair[0] not in ("items", "bytes")],
        problems=[{**one, "advice": advice(one["message"])} for one in dataset["problems"]],
        models=models.of_dataset(studio(), user, dataset["id"], MODELS_SHOWN),
        errors=errors or {},
        typed=request.form if errors else {},
    )


def _spread(
    preview: dict[str, Any],
) -> tuple[list[histograms.Histogram], list[tuple[str, list[tuple[str, int]], int]]]:
    """Of the labels and of each size that differs: bars side by side, or (title, bars, longest) below each other."""
    drawn, counts = [], []
    labels = [(one["label"], one["items"]) for one in preview.get("labels", ())][:LABELS_SHOWN]
    if len(labels) > 1:
        title = _("Items by label")
        if len(labels) <= FEW_LABELS and all(len(name) <= SHORT_LABEL for name, _n in labels):
            drawn.append(histograms.histogram(title, sorted(labels)))
        else:
            counts.append((title, labels, max(count for _n, count in labels)))
    for name, size in preview.get("sizes", {}).items():
        if size["min"] != size["max"]:
            rows = [(_range(part), part["items"]) for part in size["histogram"]]
            marks = [numbers.short(part["from"]) for part in size["histogram"]]
            title = str(MEASURES.get(name, name))
            drawn.append(histograms.histogram(title, rows, marks))
    return drawn, counts


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
    return _with_texts(user, dataset, several)


def _with_texts(user: User, dataset: dict[str, Any], items: Any) -> list[dict[str, Any]]:
    if dataset["kind"] == "images":
        return list(items)
    numbers, most = [one["n"] for one in items], media.SHORT_TEXT
    read = datasets.item_texts(studio(), user, dataset["id"], numbers, most + 1)
    return [{**one, **media.told(read.get(one["n"]), most)} for one in items]
