"""Models: the list with what each makes, and a page with everything about one: card, samples, use, files."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from shared.errors import InvalidInput, NotFound
from shared.jobs import FINAL
from shared.models import User
from web import forms
from web.requests import ModelChange, check
from web.security import absolute, current_user, studio
from web.services import datasets, jobs, model_samples, model_use, models
from web.services.job_lists import Filters
from web.views import charts, generate, media, words
from web.views.deleting import delete_or_ask

bp = Blueprint("models", __name__)

SAMPLES_OF_EACH = 4
SHORT_SAMPLE = 220  # characters of a text on a card
MOST_ROUNDS = 40  # of what a training drew
CHART_POINTS = 300
USES_SHOWN = 6
RESULTS_SHOWN = 12

Shape = dict[str, Any]


@bp.get("/models")
def index() -> ResponseReturnValue:
    user = current_user()
    asked = {name: request.args.get(name, "").strip() or None for name in ("after", "q")}
    wanted = check(models.Filters, {"limit": "24", **asked})
    found = models.list_models(studio(), user, wanted)
    samples = model_samples.newest(studio(), user, found["items"], SAMPLES_OF_EACH)
    return render_template(
        "models/index.html",
        models=found["items"],
        next=found["next"],
        q=wanted.q or "",
        samples=_on_cards(user, samples),
    )


@bp.get("/models/<model_id>")
def show(model_id: str) -> ResponseReturnValue:
    user = current_user()
    return _page(user, models.get_model(studio(), user, model_id), {})


@bp.get("/models/<model_id>/tried")
def tried(model_id: str) -> ResponseReturnValue:
    """The part of the page that follows a generation."""
    user = current_user()
    model = models.get_model(studio(), user, model_id)
    return render_template("models/tried.html", model=model, tried=_tried(user, model))


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
    flash(_("Saved."), "success")
    return redirect(url_for("pages.models.show", model_id=model_id), 303)


@bp.post("/models/<model_id>/delete")
def delete(model_id: str) -> ResponseReturnValue:
    user = current_user()
    return delete_or_ask(
        lambda force: models.delete_model(studio(), user, model_id, force),
        _("The model is deleted."),
        url_for("pages.models.index"),
    )


def _page(user: User, model: Shape, errors: dict[str, str]) -> str:
    parts = generate.form_parts(user, model)
    parts["errors"] = errors
    job = _job(user, model)
    return render_template(
        "models/show.html",
        model=model,
        job=job,
        dataset=_dataset(user, model),
        metrics=words.pairs(model["metrics"]),
        facts=words.pairs(model["facts"]),
        rounds=_rounds(user, job),
        chart=_chart(user, job),
        tried=_tried(user, model),
        uses=jobs.list_jobs(studio(), user, Filters(model_id=model["id"], limit=USES_SHOWN))[
            "items"
        ],
        python=model_use.python_lines(studio(), user, model["id"], _folder(model)),
        folder=_folder(model),
        address=absolute("").rstrip("/"),
        **parts,
    )


def _folder(model: Shape) -> str:
    """A name that every shell takes as it is."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", model["name"] or model["family"]).strip("-").lower()
    return plain[:40] or "model"


def _on_cards(user: User, samples: dict[str, list[Shape]]) -> dict[str, list[Shape]]:
    """Of each model pictures, or the beginning of one text."""
    shown, texts = {}, {}
    for model_id, made in samples.items():
        pictures = [one for one in made if one["media_type"] in words.PICTURES]
        if pictures:
            shown[model_id] = pictures[::-1]
        else:
            texts[model_id] = made[0]
    read = media.with_texts(user, list(texts.values()))
    for model_id, found in zip(texts, read, strict=True):
        shown[model_id] = [{**found, "text": str(found.get("text", ""))[:SHORT_SAMPLE]}]
    return shown


def _rounds(user: User, job: Shape | None) -> list[tuple[int, list[Shape]]]:
    """(step, what was drawn then) of the training, the first one first."""
    return list(media.rounds(user, job["id"], MOST_ROUNDS).items()) if job else []


def _chart(user: User, job: Shape | None) -> charts.Chart | None:
    if job is None:
        return None
    return charts.loss_chart(jobs.job_metrics(studio(), user, job["id"], CHART_POINTS)["series"])


def _tried(user: User, model: Shape) -> Shape | None:
    """The generation that ?job= names, to be followed on this page (js/tryit.js)."""
    job_id = request.args.get("job", "")
    if not job_id:
        return None
    try:
        job = jobs.get_job(studio(), user, job_id)
    except NotFound:
        return None
    if job["model_id"] != model["id"]:
        return None
    made = job["result"]["artifacts"] if job["result"] else []
    shown = media.with_texts(user, made[:RESULTS_SHOWN])
    return {"job": job, "results": shown, "over": job["state"] in FINAL}


def _job(user: User, model: Shape) -> Shape | None:
    """None when the training is somebody else's or was deleted."""
    try:
        return jobs.get_job(studio(), user, model["job_id"]) if model["job_id"] else None
    except NotFound:
        return None


def _dataset(user: User, model: Shape) -> Shape | None:
    try:
        found = model["dataset_id"]
        return datasets.get_dataset(studio(), user, found) if found else None
    except NotFound:
        return None
