"""One result: its picture or text, what is known of it, where it comes from."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, url_for
from flask.typing import ResponseReturnValue

from web.security import current_user, studio
from web.services import artifacts
from web.views import media, words
from web.views.deleting import delete_or_ask

bp = Blueprint("artifacts", __name__)

# (name in the lineage, how it is said, page, argument of the page), oldest first
CHAIN = (
    ("dataset", "Dataset", "pages.datasets.show", "dataset_id"),
    ("training_job", "Training", "pages.jobs.show", "job_id"),
    ("model", "Model", "pages.models.show", "model_id"),
    ("job", "Job", "pages.jobs.show", "job_id"),
)


@bp.get("/artifacts/<artifact_id>")
def show(artifact_id: str) -> ResponseReturnValue:
    user = current_user()
    found = media.with_text(user, artifacts.get_artifact(studio(), user, artifact_id))
    return render_template(
        "artifacts/show.html",
        artifact=found,
        metrics=words.pairs(found["metrics"]),
        label=words.pairs(found["label"]),
        lineage=_chain(artifacts.lineage(studio(), user, artifact_id)),
    )


@bp.post("/artifacts/<artifact_id>/delete")
def delete(artifact_id: str) -> ResponseReturnValue:
    user = current_user()
    found = artifacts.get_artifact(studio(), user, artifact_id)
    return delete_or_ask(
        lambda force: artifacts.delete_artifact(studio(), user, artifact_id, force),
        "The file is deleted.",
        url_for("pages.jobs.show", job_id=found["job_id"]),
    )


def _chain(lineage: dict[str, Any]) -> list[dict[str, Any]]:
    links = []
    for name, said, page, argument in CHAIN:
        thing = lineage.get(name)
        if not thing:
            continue
        known = thing.get("id")
        links.append(
            {
                "words": said,
                "title": thing.get("name") or (known[-6:] if known else "of somebody else"),
                "url": url_for(page, **{argument: known}) if known else "",
                "sha256": thing.get("sha256", ""),
            }
        )
    return links
