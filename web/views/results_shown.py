"""What pages of results share: the filters in the address, and addresses that keep them."""

from __future__ import annotations

from typing import Any

from flask import request, url_for


class Given:
    """The filters that the address holds, without empty ones: a plain form sends those, too."""

    names = ("whose", "media", "family", "model_id", "job_id", "tag", "starred", "q", "after")

    def __call__(self) -> dict[str, str]:
        found = {name: request.args.get(name, "").strip() for name in self.names}
        return {name: value for name, value in found.items() if value}


given = Given()


def gallery_url(**context: Any) -> str:
    return url_for("pages.results.index", **context)


def with_url(artifact_id: str, **context: Any) -> str:
    return url_for("pages.artifacts.show", artifact_id=artifact_id, **context)
