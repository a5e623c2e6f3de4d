"""Between Flask and the services: bodies and queries in, JSON out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any, TypeVar

from flask import Response, request

from shared.errors import BadRequest, InvalidInput
from web.queries import Part
from web.requests import Strict, check, parse_json, read_body
from web.security import WrongMediaType

WHOLE = re.compile(r"[0-9]{1,18}")
Body = TypeVar("Body", bound=Strict)


def body(model: type[Body]) -> Body:
    """The JSON body. Raises WrongMediaType, BadRequest, InvalidInput."""
    if model.may_be_absent and not request.get_data().strip():
        return model()
    if request.mimetype not in ("application/json", "") and not request.is_json:
        raise WrongMediaType()
    return read_body(model, request.get_data(cache=False))


def body_of(**models: type[Strict]) -> Any:
    """The JSON body by the first of these fields that it has; by the last one's model if it has none."""
    data = request.get_data()
    named = parse_json(data) if request.is_json else None
    found = [name for name in models if isinstance(named, dict) and name in named]
    return body(models[found[0] if found else list(models)[-1]])


def no_body() -> None:
    """For calls that take nothing: an empty body or an empty object."""
    if request.get_data(cache=False).strip() not in (b"", b"{}"):
        raise BadRequest("This call takes no body.")


def query(model: type[Body]) -> Body:
    """The query string; a name given twice or unknown is refused."""
    values: dict[str, Any] = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            message = "is given more than once"
            raise InvalidInput(errors=[{"pointer": f"/{name[:80]}", "message": message}])
        values[name] = given[0]
    return check(model, values)


def answer(value: Any, status: int = 200) -> Response:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Response(text, status, mimetype="application/json")


def part_of(
    items: list[dict[str, Any]],
    asked: Part,
    name_of: Callable[[dict[str, Any]], str] = itemgetter("id"),
    *,
    rising: bool = False,
) -> Response:
    """A list that is read whole, or the part of it that was asked for; `next` is the name of the last entry.

    It is in the order of its names, so that a part begins where the one before ended, whatever went meanwhile.
    """
    if (after := asked.after) is not None:
        items = [
            item for item in items if (name_of(item) > after if rising else name_of(item) < after)
        ]
    part = items[: asked.limit]
    more = len(part) < len(items)
    return answer({"items": part, "next": name_of(part[-1]) if more else None})


def nothing() -> Response:
    return Response(status=204)
