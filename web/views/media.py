"""Results on pages: where their bytes are fetched, the beginning of texts, cards to choose from."""

from __future__ import annotations

from typing import Any, Protocol

from flask import Flask, url_for
from flask_babel import gettext as _

from shared.errors import NotFound
from shared.models import User
from web.security import studio
from web.services import artifacts

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
    if not found["media_type"].startswith("text/"):
        return found
    try:
        file = artifacts.open_artifact(studio(), user, found["id"])[1]
        with file:
            return {**found, **beginning(file)}
    except NotFound:
        return {**found, "text": str(_("The file is gone."))}


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def beginning(file: Readable, most: int = MOST_TEXT) -> dict[str, Any]:
    """{text, shortened}: that there is more is said beside it, never in it, where it would be copied, too."""
    text = file.read(4 * most + 1).decode("utf-8", "replace")
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
