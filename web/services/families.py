"""Families as people see them: what some worker can run, and what each action asks for."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from shared import catalog
from shared.errors import InvalidInput, KindUnavailable, NotFound
from web.services.studio import Studio

SHOWN = ("name", "version", "title", "summary", "modality", "dataset_kind", "online", "doc")


def list_families(studio: Studio) -> list[dict[str, Any]]:
    with studio.db.reading() as session:
        return [_shown(family) for family in catalog.families(session)]


def get_family(studio: Studio, name: str) -> dict[str, Any]:
    """Raises NotFound."""
    for family in list_families(studio):
        if family["name"] == name:
            return family
    raise NotFound("There is no such family.")


def announced(session: Session, name: str, version: int | None = None) -> dict[str, Any]:
    """An announcement for a submit. Raises InvalidInput with a pointer."""
    try:
        return catalog.family(session, name, version)
    except NotFound:
        message = "is not a family that this server knows"
        raise InvalidInput(errors=[{"pointer": "/family", "message": message}]) from None


def action_of(session: Session, family: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    """Schema, rules and cost of a kind of job. Raises KindUnavailable."""
    found = family["actions"].get(kind) if family else None
    if found is not None:
        return dict(found)
    text = "is not offered by this family"
    if not any(kind in other["actions"] for other in catalog.families(session)):
        text = "is not offered by any family"
    raise KindUnavailable(errors=[{"pointer": "/kind", "message": text}])


def _shown(family: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: family.get(name) for name in SHOWN},
        "accepts": [message for _, message in family.get("accepts", [])],
        "actions": {
            kind: {
                "schema": action["schema"],
                "example": action["example"],
                "presets": action.get("presets", []),
            }
            for kind, action in family["actions"].items()
        },
    }
