"""One result: its picture or text, what is known of it, where it comes from."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from shared.errors import InvalidInput, NotFound
from shared.models import User
from web.requests import ArtifactChange, check
from web.said import said
from web.security import current_user, studio
from web.services import artifacts, models, results
from web.views import media, words
from web.views.deleting import delete_or_ask
from web.views.results_shown import gallery_url, given, with_url

bp = Blueprint("artifacts", __name__)

# (name in the lineage, how it is said, page, argument of the page), oldest first
CHAIN = (
    ("dataset", _l("Dataset"), "pages.datasets.show", "dataset_id"),
    ("training_job", _l("Training"), "pages.jobs.show", "job_id"),
    ("model", _l("Model"), "pages.models.show", "model_id"),
    ("job", _l("Job"), "pages.jobs.show", "job_id"),
)


KEYS = (
    ("← →", _l("The result before and after it")),
    ("+ - 0", _l("Zoom in, zoom out, fit")),
    ("r", _l("Use its parameters")),
    ("s", _l("Use its seed")),
    ("c", _l("Compare with the one before it")),
    (".", _l("Star, or take the star away")),
)


@bp.get("/artifacts/<artifact_id>")
def show(artifact_id: str) -> ResponseReturnValue:
    user, context = current_user(), given()
    found = media.with_text(user, results.get_result(studio(), user, artifact_id))
    filters = {"whose": "mine" if found["mine"] else "shared", **context}
    newer = older = None
    if found["role"] != "preview":
        asked = check(results.Filters, filters)
        newer, older = results.neighbours(studio(), user, artifact_id, asked)
    return render_template(
        "artifacts/show.html",
        artifact=found,
        context=context,
        newer=newer,
        older=older,
        model=_model(user, found),
        metrics=words.pairs(found["metrics"]),
        label=words.pairs(found["label"]),
        lineage=_chain(artifacts.lineage(studio(), user, artifact_id)),
        page_keys=KEYS,
    )


@bp.post("/artifacts/<artifact_id>")
def change(artifact_id: str) -> ResponseReturnValue:
    """Star, tags, sharing: what the form names changes."""
    form = request.form
    asked: dict[str, Any] = {}
    if "starred" in form:
        asked["starred"] = form["starred"] == "1"
    if "visibility" in form:
        asked["visibility"] = form["visibility"]
    if "tags" in form:
        asked["tags"] = [part.strip() for part in form["tags"].split(",") if part.strip()]
    user = current_user()
    results.get_result(studio(), user, artifact_id)  # 404 goes before what is wrong with the form
    try:
        results.change_results(studio(), user, [artifact_id], check(ArtifactChange, asked))
    except InvalidInput as error:
        wrong = error.errors[0]
        if wrong["pointer"].startswith("/tags"):
            flash(_("This is no tag: %(why)s", why=said(wrong["message"])), "error")
        else:
            flash(f"{wrong['pointer'].strip('/')}: {said(wrong['message'])}", "error")
    return redirect(with_url(artifact_id, **given()), 303)


@bp.post("/artifacts/<artifact_id>/delete")
def delete(artifact_id: str) -> ResponseReturnValue:
    user = current_user()
    results.get_result(studio(), user, artifact_id)
    return delete_or_ask(
        lambda force: artifacts.delete_artifact(studio(), user, artifact_id, force),
        _("The file is deleted."),
        gallery_url(**given()),
    )


def _model(user: User, found: dict[str, Any]) -> dict[str, Any] | None:
    """The model, if one can generate with it again."""
    try:
        return models.get_model(studio(), user, found["model_id"]) if found["model_id"] else None
    except NotFound:
        return None


def _chain(lineage: dict[str, Any]) -> list[dict[str, Any]]:
    links = []
    for name, kind, page, argument in CHAIN:
        thing = lineage.get(name)
        if not thing:
            continue
        known = thing.get("id")
        links.append(
            {
                "words": kind,
                "title": thing.get("name") or (known[-6:] if known else _("of somebody else")),
                "url": url_for(page, **{argument: known}) if known else "",
                "sha256": thing.get("sha256", ""),
            }
        )
    return links
