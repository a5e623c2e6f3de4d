"""Results on pages: where their bytes are fetched, the beginning of texts, cards to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Flask, url_for
from flask_babel import gettext as _

from shared.models import User
from web.security import studio
from web.services import artifacts, jobs

MOST_TEXT = 20_000
SHORT_TEXT = 600
SHORT_TITLE = 80


def init_app(app: Flask) -> None:
    app.jinja_env.globals.update(
        content_url=content_url,
        item_url=item_url,
        result_thumbnail_url=result_thumbnail_url,
        thumbnail_url=thumbnail_url,
    )


def content_url(artifact_id: str) -> str:
    return url_for("api.artifacts.content", artifact_id=artifact_id)


def result_thumbnail_url(artifact_id: str, size: int = 256) -> str:
    return url_for("api.artifacts.thumbnail", artifact_id=artifact_id, size=size)


def item_url(dataset_id: str, n: int) -> str:
    return url_for("api.datasets.item_content", dataset_id=dataset_id, n=n)


def thumbnail_url(dataset_id: str, n: int) -> str:
    return url_for("api.datasets.item_thumbnail", dataset_id=dataset_id, n=n)


def with_text(user: User, found: dict[str, Any]) -> dict[str, Any]:
    """An artifact, with the beginning of its text if it is one."""
    return with_texts(user, [found])[0]


def with_texts(user: User, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same of many, read side by side."""
    ids = [one["id"] for one in found if one["media_type"].startswith("text/")]
    if not ids:
        return list(found)
    read = artifacts.texts_of(studio(), user, ids, MOST_TEXT + 1)
    return [{**one, **told(read.get(one["id"]))} if one["id"] in ids else one for one in found]


def rounds(user: User, job_id: str, most: int) -> dict[int, list[dict[str, Any]]]:
    """What a training drew on its way, by step, the first one first."""
    found = jobs.job_previews(studio(), user, job_id, most)["items"]
    shown = with_texts(user, [one["artifact"] for one in found])
    by_step: dict[int, list[dict[str, Any]]] = {}
    for one, artifact in zip(found, shown, strict=True):
        by_step.setdefault(one["step"], []).append(artifact)
    return dict(sorted(by_step.items()))


def told(text: str | None, most: int = MOST_TEXT) -> dict[str, Any]:
    """{text, shortened} as a page shows it, which stands also where the storage does not. That there is more is said
    beside the text, never in it, where it would be copied, too."""
    if text is None:
        return {"text": str(_("The file is gone or cannot be read just now."))}
    return {"text": text[:most], "shortened": len(text) > most}


def choice_of_artifact(found: dict[str, Any]) -> dict[str, Any]:
    """A card for a parameter that refers to a picture or a text."""
    picture = found["media_type"].startswith("image/")
    return {
        "id": found["id"],
        "kind": "image" if picture else "text",
        "title": found["name"],
        "url": content_url(found["id"]) if picture else "",
    }


def choice_of_item(dataset_id: str, item: dict[str, Any]) -> dict[str, Any]:
    picture = item["media_type"].startswith("image/")
    words = item.get("label") or item.get("caption") or item["name"]
    return {
        "id": f"{dataset_id}:{item['n']}",
        "kind": "image" if picture else "text",
        "title": str(words)[:SHORT_TITLE],
        "url": item_url(dataset_id, item["n"]) if picture else "",
    }
