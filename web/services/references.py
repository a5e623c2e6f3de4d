"""x-ref parameters: ids of artifacts or dataset items, turned into the bytes that the worker will fetch.

Only ids are accepted, never paths or addresses. A dataset item is "<dataset id>:<n>".
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import ColumnElement, String, cast
from sqlalchemy.orm import Session

from shared.errors import InvalidInput, NotFound
from shared.models import Artifact, Dataset, DatasetItem, Job, User
from web.services import access

ITEM = re.compile(r"([0-9a-z]{1,32}):([0-9]{1,9})")
ID = re.compile(r"[0-9a-z]{1,32}")
MEDIA = {"image": "image/", "text": "text/"}

Found = tuple[dict[str, Any], str]
NOT_SEEN = "is not the id of an artifact or dataset item that you may see"


def resolve(
    session: Session, user: User, schema: dict[str, Any], params: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """({parameter: where its bytes lie}, problems with pointers)."""
    inputs: dict[str, Any] = {}
    problems = []
    for name, field in schema.get("properties", {}).items():
        kind, value = field.get("x-ref"), params.get(name)
        if not kind or not value:
            continue
        found = _find(session, user, value) if isinstance(value, str) else None
        pointer = f"/params/{name}"
        if found is None:
            problems.append({"pointer": pointer, "message": NOT_SEEN})
        elif not found[1].startswith(MEDIA.get(kind, kind)):
            problems.append({"pointer": pointer, "message": f"is {found[1]}, not {kind}"})
        else:
            inputs[name] = found[0]
    return inputs, problems


def still_there(
    session: Session, user: User, params: dict[str, Any], inputs: dict[str, Any]
) -> None:
    """Holds what was resolved until the transaction ends. Raises InvalidInput if it was deleted or un-shared."""
    for name in sorted(inputs):
        if _find(session, user, params[name], held=True) is None:
            raise InvalidInput(errors=[{"pointer": f"/params/{name}", "message": NOT_SEEN}])


def _find(session: Session, user: User, value: str, held: bool = False) -> Found | None:
    """(where the bytes lie, their media type)."""
    try:
        if item := ITEM.fullmatch(value):
            if held:
                access.hold(session, Dataset, item[1])
            return _item(session, user, item[1], int(item[2]))
        if ID.fullmatch(value):
            if held:
                access.hold(session, Artifact, value)
            row = access.readable(session, Artifact, value, user)
            place = {"location": row.location, "sha256": row.sha256, "bytes": row.bytes}
            return place, row.media_type
    except NotFound:
        pass
    return None


def _item(session: Session, user: User, dataset_id: str, n: int) -> Found | None:
    dataset = access.readable(session, Dataset, dataset_id, user)
    row = session.get(DatasetItem, (dataset.id, n))
    if row is None:
        return None
    place = {
        "location": f"datasets/{dataset.id}/data.bin",
        "sha256": row.sha256,
        "offset": row.offset,
        "bytes": row.bytes,
    }
    return place, row.media_type


def used(location: str) -> ColumnElement[bool]:
    """Jobs that read something under this storage key or prefix."""
    return cast(Job.inputs, String).contains(location, autoescape=True)
